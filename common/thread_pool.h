#pragma once
// A few threads that split one loop at a time: made for regions of tens of microseconds, hundreds
// of times a second. Idle threads spin for a short while, then sleep in the kernel.
//   ThreadPool pool(2);
//   pool.ParallelFor(num_tiles, [&](int tile, int thread) { Multiply(tile, &scratch[thread]); });

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace skv {

// While it lives, this thread's SSE/AVX arithmetic flushes denormal results and inputs to zero
// (docs/arithmetic.md); afterwards the thread's former mode is back. Nests. No effect off x86.
class ScopedFlushDenormals {
 public:
  ScopedFlushDenormals();
  ~ScopedFlushDenormals();
  ScopedFlushDenormals(const ScopedFlushDenormals&) = delete;
  ScopedFlushDenormals& operator=(const ScopedFlushDenormals&) = delete;

 private:
  uint32_t saved_mode_;
};

// One caller at a time: ParallelFor is neither reentrant nor thread-safe. Tasks must not throw.
class ThreadPool {
 public:
  // Starts num_threads - 1 threads; the caller of ParallelFor is thread 0. `num_threads` below 1
  // counts as 1. A thread without work spins for `spin` before it sleeps: 0 where cores are
  // oversubscribed.
  explicit ThreadPool(int num_threads,
                      std::chrono::nanoseconds spin = std::chrono::microseconds(50));
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

  // Runs body(task, thread) once for each task in [0, num_tasks) and returns when all have ended.
  // Threads claim tasks in increasing order as they become free; `thread` is in [0, num_threads())
  // and no two tasks with one `thread` run at once. Everything that a task wrote is visible on
  // return. Denormals are flushed in every task, also in those that the caller runs.
  void ParallelFor(int num_tasks, absl::FunctionRef<void(int task, int thread)> body);

 private:
  using Body = absl::FunctionRef<void(int, int)>;

  void RunThread(int thread);
  void RunTasks(int thread);
  void SleepUntilWork(int32_t seen);
  void WaitForTasks();

  const std::chrono::nanoseconds spin_;
  std::vector<std::thread> threads_;

  // The running job. Written by the caller only while no task is claimed or claimable.
  const Body* body_ = nullptr;
  int num_tasks_ = 0;

  // Tasks nobody has claimed; zero and below: nothing to do. Whoever lowers it from a positive
  // value owns task num_tasks_ - value, and the job stays in place until that task is finished.
  alignas(64) std::atomic<int32_t> unclaimed_{0};
  alignas(64) std::atomic<int32_t> unfinished_{0};
  alignas(64) std::atomic<int32_t> num_sleeping_{0};
  std::atomic<bool> caller_sleeps_{false};
};

}  // namespace skv
