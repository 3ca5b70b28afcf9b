#pragma once
// A client in a process of its own, which runs a function and ends with what that returns; the two
// sides take turns. Start it while this process has no client but the one that lives as long as
// the store: it has copies of all sockets. Not thread-safe.

#include <sys/types.h>

#include <functional>

namespace skv::hostile {

class ClientProcess {
 public:
  // `act` calls `yield` to give the turn away, and goes on when it has it again.
  explicit ClientProcess(const std::function<bool(const std::function<void()>& yield)>& act);
  // Kills it if it still runs, a stopped one too.
  ~ClientProcess();
  ClientProcess(const ClientProcess&) = delete;
  ClientProcess& operator=(const ClientProcess&) = delete;

  // Until it yields; false: it has ended.
  bool WaitForYield();
  void GoOn();
  void Signal(int signal);
  // Waits for its end; true when `act` returned true.
  bool Join();

 private:
  pid_t pid_ = 0;
  int write_ = -1;
  int read_ = -1;
};

}  // namespace skv::hostile
