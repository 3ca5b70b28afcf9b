#pragma once
// Child processes that cannot outlive their parent.

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace skv {

struct ChildOptions {
  std::vector<std::string> args;         // args[0] is the program; searched in PATH without a slash
  std::vector<std::string> environment;  // "NAME=value", over this process's own
  std::string log_path;  // standard output and error are appended to it; "": inherited
};

// How a process ended.
struct ExitState {
  int code = 0;    // exit code, when signal is 0
  int signal = 0;  // the signal that killed it, or 0

  bool ok() const { return code == 0 && signal == 0; }
  std::string ToString() const;  // "exited with code 1", "was killed by signal 9 (Killed)"
};

// A child in its own process group (Ctrl-C on the terminal reaches only us, and we decide). The
// kernel kills it when the thread that started it ends, so not even kill -9 of the parent leaves an
// orphan: start children from a thread that lives as long as they should. It gets no descriptors
// but the standard ones, and default signal handling. Not thread-safe.
class ScopedChild {
 public:
  // Returns once the program runs. NotFound, PermissionDenied and so on, naming it, when it cannot.
  static absl::StatusOr<std::unique_ptr<ScopedChild>> Start(const ChildOptions& options);
  // Kills the child if it still runs.
  ~ScopedChild();
  ScopedChild(const ScopedChild&) = delete;
  ScopedChild& operator=(const ScopedChild&) = delete;

  pid_t pid() const { return pid_; }

  // Nothing if the child still runs after `timeout` (0: just look). May be asked again.
  std::optional<ExitState> Wait(std::chrono::milliseconds timeout);
  // Does nothing to a child that has ended.
  void Signal(int signal);
  // Asks it to end: SIGTERM, which also wakes a stopped child. Does not wait.
  void Terminate();

 private:
  ScopedChild(pid_t pid, int pid_fd) : pid_(pid), pid_fd_(pid_fd) {}

  const pid_t pid_;
  const int pid_fd_;  // readable (poll) once the child has ended
  std::optional<ExitState> exit_state_;
};

}  // namespace skv
