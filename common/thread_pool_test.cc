#include "common/thread_pool.h"

#include <atomic>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace skv {
namespace {

TEST(ThreadPoolTest, RunsEveryTaskOnceAndMakesItsWritesVisible) {
  for (const int num_threads : {0, 1, 2, 3, 5}) {
    SCOPED_TRACE(num_threads);
    ThreadPool pool(num_threads);
    std::mt19937 random(7);
    for (int round = 0; round < 2000; ++round) {
      const int num_tasks = static_cast<int>(random() % 20);
      std::vector<int> runs(num_tasks, 0);
      pool.ParallelFor(num_tasks, [&](int task, int) { runs[task] += round + 1; });
      ASSERT_EQ(runs, std::vector<int>(num_tasks, round + 1)) << "round " << round;
    }
  }
}

TEST(ThreadPoolTest, ThreadNumbersAreInRangeAndNeverShared) {
  constexpr int kNumThreads = 3;
  ThreadPool pool(kNumThreads);
  std::vector<std::atomic<int>> active(kNumThreads);
  std::atomic<int> num_shared{0};
  pool.ParallelFor(5000, [&](int, int thread) {
    ASSERT_GE(thread, 0);
    ASSERT_LT(thread, kNumThreads);
    if (active[thread].fetch_add(1) != 0) ++num_shared;
    active[thread].fetch_sub(1);
  });
  EXPECT_EQ(num_shared, 0);
}

TEST(ThreadPoolTest, TwoTasksRunAtTheSameTime) {
  ThreadPool pool(2);
  std::atomic<int> num_arrived{0};
  // Each task ends only after the other has begun: a pool that ran them in turn would hang.
  pool.ParallelFor(2, [&](int, int) {
    ++num_arrived;
    while (num_arrived < 2) std::this_thread::yield();
  });
  EXPECT_EQ(num_arrived, 2);
}

TEST(ThreadPoolTest, SleepingThreadsWakeForTheNextLoop) {
  ThreadPool pool(3, std::chrono::nanoseconds(0));  // no spinning: every loop finds sleepers
  int64_t sum = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<int> values(8, 0);
    pool.ParallelFor(8, [&](int task, int) { values[task] = task; });
    sum += std::accumulate(values.begin(), values.end(), 0);
  }
  EXPECT_EQ(sum, 3000 * 28);
}

TEST(ThreadPoolTest, FlushesDenormalsInsideTasksAndRestoresTheCaller) {
#if !defined(__x86_64__)
  GTEST_SKIP() << "the denormal mode is set on x86 only";
#endif
  volatile float smallest_normal = 1.17549435e-38f;
  for (const int num_threads : {1, 2}) {
    ThreadPool pool(num_threads);
    std::vector<float> halves(64, 1.0f);
    pool.ParallelFor(64, [&](int task, int) { halves[task] = smallest_normal * 0.5f; });
    EXPECT_EQ(halves, std::vector<float>(64, 0.0f));
    EXPECT_GT(smallest_normal * 0.5f, 0.0f) << "the caller's own mode changed";
  }
}

TEST(ScopedFlushDenormalsTest, Nests) {
  volatile float smallest_normal = 1.17549435e-38f;
  {
    const ScopedFlushDenormals outer;
    { const ScopedFlushDenormals inner; }
    EXPECT_EQ(smallest_normal * 0.5f, 0.0f);
  }
  EXPECT_GT(smallest_normal * 0.5f, 0.0f);
}

}  // namespace
}  // namespace skv
