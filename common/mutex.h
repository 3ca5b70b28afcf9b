#pragma once
// std::mutex with clang thread-safety annotations. absl::Mutex is avoided because TSan reports
// false races on the distribution's build of it.

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define SKV_TSA(x) __attribute__((x))
#else
#define SKV_TSA(x)
#endif
#define SKV_GUARDED_BY(m) SKV_TSA(guarded_by(m))
#define SKV_REQUIRES(...) SKV_TSA(requires_capability(__VA_ARGS__))

namespace skv {

class SKV_TSA(capability("mutex")) Mutex {
 public:
  void Lock() SKV_TSA(acquire_capability()) { mutex_.lock(); }
  void Unlock() SKV_TSA(release_capability()) { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class SKV_TSA(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) SKV_TSA(acquire_capability(mutex)) : mutex_(mutex) {
    mutex_->Lock();
  }
  ~MutexLock() SKV_TSA(release_capability()) { mutex_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mutex_;
};

// Every wait has a deadline: there is no Wait without one.
class CondVar {
 public:
  // Waits until `ready()` holds or `deadline` passes; returns ready(). REQUIRES: `mutex` held.
  template <typename Ready>
  bool WaitUntil(Mutex* mutex, std::chrono::steady_clock::time_point deadline, Ready ready) {
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    const bool result = cv_.wait_until(lock, deadline, ready);
    lock.release();
    return result;
  }
  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace skv
