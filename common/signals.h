#pragma once
// Waits for SIGTERM or SIGINT in an ordinary thread.

#include <chrono>

namespace skv {

// While one lives, SIGTERM and SIGINT no longer end the process but wake Wait; one at a time in a
// process.
class SignalWaiter {
 public:
  SignalWaiter();
  ~SignalWaiter();
  SignalWaiter(const SignalWaiter&) = delete;
  SignalWaiter& operator=(const SignalWaiter&) = delete;

  // Waits for a signal or Raise.
  void Wait();
  // The same for at most `timeout`; false when nothing came.
  bool WaitFor(std::chrono::milliseconds timeout);
  // Wakes Wait as a signal would. Thread-safe.
  void Raise();
};

}  // namespace skv
