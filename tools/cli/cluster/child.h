#pragma once
// A child process that never outlives its parent: it gets SIGKILL when the parent dies, however
// that happens. Created, watched and ended by one thread.

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"

namespace skv::cli {

struct ChildSpec {
  std::string name;                    // "worker 0/1"
  std::vector<std::string> arguments;  // [0] is the program's path
  std::string log_path;                // stdout and stderr are appended there
};

class Child {
 public:
  // Internal: fork failed or the log cannot be opened. A program that cannot run exits with 127.
  static absl::StatusOr<Child> Start(const ChildSpec& spec);

  pid_t pid() const { return pid_; }
  // How it ended ("exit code 1", "signal 9"); nullopt while it runs.
  const std::optional<std::string>& Poll();
  void Signal(int signal_number);

 private:
  explicit Child(pid_t pid) : pid_(pid) {}
  pid_t pid_;
  std::optional<std::string> end_;
};

// Waits until all have ended; kills what is left at `deadline`.
void StopAll(std::vector<Child*> children, int signal_number, TimePoint deadline);

}  // namespace skv::cli
