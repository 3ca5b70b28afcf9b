#include "common/thread_pool.h"

#include <algorithm>
#include <limits>

#include "common/futex.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace skv {
namespace {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;

// Far below anything that late claims can reach by counting down from zero.
constexpr int32_t kStop = std::numeric_limits<int32_t>::min() / 2;
constexpr uint32_t kFlushDenormals = 0x8040;  // MXCSR: flush results (15) and inputs (6)
// A wake-up is never lost; the limit only keeps a sleeping thread visible to a debugger's user.
constexpr nanoseconds kMaxSleep = std::chrono::seconds(10);

// Spins until `done()` or for `limit`; returns done(). The clock costs as much as a few pauses, so
// it is read once in 32.
template <typename Done>
bool SpinUntil(nanoseconds limit, Done done) {
  if (done()) return true;
  const auto end = steady_clock::now() + limit;
  do {
    for (int i = 0; i < 32; ++i) {
      CpuRelax();
      if (done()) return true;
    }
  } while (steady_clock::now() < end);
  return done();
}

}  // namespace

#if defined(__x86_64__)
ScopedFlushDenormals::ScopedFlushDenormals() : saved_mode_(_mm_getcsr()) {
  if ((saved_mode_ & kFlushDenormals) != kFlushDenormals) _mm_setcsr(saved_mode_ | kFlushDenormals);
}
ScopedFlushDenormals::~ScopedFlushDenormals() {
  if ((saved_mode_ & kFlushDenormals) != kFlushDenormals) _mm_setcsr(saved_mode_);
}
#else
ScopedFlushDenormals::ScopedFlushDenormals() : saved_mode_(0) {}
ScopedFlushDenormals::~ScopedFlushDenormals() = default;
#endif

ThreadPool::ThreadPool(int num_threads, nanoseconds spin) : spin_(spin) {
  for (int thread = 1; thread < num_threads; ++thread) {
    threads_.emplace_back([this, thread] { RunThread(thread); });
  }
}

ThreadPool::~ThreadPool() {
  unclaimed_.store(kStop);
  FutexWake(unclaimed_, std::numeric_limits<int>::max(), FutexScope::kProcess);
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::ParallelFor(int num_tasks, Body body) {
  const ScopedFlushDenormals flush;
  if (threads_.empty() || num_tasks <= 1) {
    for (int task = 0; task < num_tasks; ++task) body(task, 0);
    return;
  }
  body_ = &body;
  num_tasks_ = num_tasks;
  unfinished_.store(num_tasks, std::memory_order_relaxed);
  // Sequentially consistent with SleepUntilWork: either we see the sleeper or it sees the tasks.
  unclaimed_.store(num_tasks);
  const int num_sleeping = num_sleeping_.load();
  if (num_sleeping > 0) {
    FutexWake(unclaimed_, std::min(num_sleeping, num_tasks - 1), FutexScope::kProcess);
  }
  RunTasks(0);
  WaitForTasks();
}

void ThreadPool::RunThread(int thread) {
  const ScopedFlushDenormals flush;
  while (true) {
    int32_t unclaimed = 0;
    const bool has_work = SpinUntil(spin_, [&] {
      unclaimed = unclaimed_.load(std::memory_order_relaxed);
      return unclaimed > 0 || unclaimed <= kStop;
    });
    if (unclaimed <= kStop) return;
    if (has_work) {
      RunTasks(thread);
    } else {
      SleepUntilWork(unclaimed);
    }
  }
}

// Counting finished tasks once per run instead of once per task is safe: while one of ours is
// uncounted the job cannot end, so all that we claim here belongs to one job.
void ThreadPool::RunTasks(int thread) {
  int num_finished = 0;
  while (unclaimed_.load(std::memory_order_relaxed) > 0) {
    const int32_t claimed = unclaimed_.fetch_sub(1, std::memory_order_acquire);
    if (claimed <= 0) break;
    (*body_)(num_tasks_ - claimed, thread);
    ++num_finished;
  }
  if (num_finished == 0) return;
  const int32_t before = unfinished_.fetch_sub(num_finished);
  if (before == num_finished && caller_sleeps_.load()) {
    FutexWake(unfinished_, 1, FutexScope::kProcess);
  }
}

void ThreadPool::SleepUntilWork(int32_t seen) {
  num_sleeping_.fetch_add(1);
  if (unclaimed_.load() == seen) {
    FutexWait(unclaimed_, seen, FutexScope::kProcess, kMaxSleep);
  }
  num_sleeping_.fetch_sub(1);
}

void ThreadPool::WaitForTasks() {
  const auto done = [this] { return unfinished_.load(std::memory_order_acquire) == 0; };
  if (SpinUntil(spin_, done)) return;
  caller_sleeps_.store(true);
  while (true) {
    const int32_t unfinished = unfinished_.load();
    if (unfinished == 0) break;
    FutexWait(unfinished_, unfinished, FutexScope::kProcess, kMaxSleep);
  }
  caller_sleeps_.store(false);
}

}  // namespace skv
