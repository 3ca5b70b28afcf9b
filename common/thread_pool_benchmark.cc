// Cost of handing a loop to the pool and waiting for it, and of the same region with some work in
// it.
#include <atomic>

#include "benchmark/benchmark.h"
#include "common/futex.h"
#include "common/thread_pool.h"

namespace skv {
namespace {

void EmptyRegion(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    pool.ParallelFor(pool.num_threads(), [](int task, int) { benchmark::DoNotOptimize(task); });
  }
}
BENCHMARK(EmptyRegion)->Arg(1)->Arg(2)->UseRealTime();

// Every thread has to take one task: the whole way to the other core and back.
void RegionWhereAllThreadsMeet(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    std::atomic<int> num_arrived{0};
    pool.ParallelFor(pool.num_threads(), [&](int, int) {
      num_arrived.fetch_add(1);
      while (num_arrived.load(std::memory_order_relaxed) < pool.num_threads()) CpuRelax();
    });
  }
}
BENCHMARK(RegionWhereAllThreadsMeet)->Arg(2)->UseRealTime();

void BurnTenMicroseconds(int, int) {
  for (int i = 0; i < 40'000; ++i) benchmark::DoNotOptimize(i);
}

void RegionOfEightTasks(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  for (auto _ : state) pool.ParallelFor(8, BurnTenMicroseconds);
}
BENCHMARK(RegionOfEightTasks)->Arg(1)->Arg(2)->UseRealTime();

}  // namespace
}  // namespace skv
