#pragma once
// Wait on and wake by a 32-bit word, through Linux futexes. With `shared` the word may lie in
// memory that several processes map; without, only threads of this process are woken (and it is
// cheaper).

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>

namespace skv {

enum class FutexScope { kProcess, kShared };

// Sleeps while *word == expected, at most `timeout`. May return early for no reason: check again.
inline void FutexWait(const std::atomic<int32_t>& word, int32_t expected, FutexScope scope,
                      std::chrono::nanoseconds timeout) {
  const int op = scope == FutexScope::kShared ? FUTEX_WAIT : FUTEX_WAIT_PRIVATE;
  timespec limit{static_cast<time_t>(timeout.count() / 1'000'000'000),
                 static_cast<long>(timeout.count() % 1'000'000'000)};
  syscall(SYS_futex, reinterpret_cast<const int32_t*>(&word), op, expected, &limit, nullptr, 0);
}

// Wakes at most `count` waiters of *word.
inline void FutexWake(const std::atomic<int32_t>& word, int count, FutexScope scope) {
  const int op = scope == FutexScope::kShared ? FUTEX_WAKE : FUTEX_WAKE_PRIVATE;
  syscall(SYS_futex, reinterpret_cast<const int32_t*>(&word), op, count, nullptr, nullptr, 0);
}

// Tells the core that this is a spin loop.
inline void CpuRelax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace skv
