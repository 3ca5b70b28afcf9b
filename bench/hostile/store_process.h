#pragma once
// A skv-kvstore of one's own: its process, its socket, its metrics, what it wrote. Not thread-safe.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/process.h"

namespace skv::hostile {

class StoreProcess {
 public:
  // Runs `program` with `flags`, beside a socket in a folder of its own, and waits until it serves.
  // Unavailable: it ended before, or did not serve within two minutes; the message has its output.
  static absl::StatusOr<std::unique_ptr<StoreProcess>> Start(const std::string& program,
                                                             const std::vector<std::string>& flags);
  // Ends it, and removes its folder.
  ~StoreProcess();
  StoreProcess(const StoreProcess&) = delete;
  StoreProcess& operator=(const StoreProcess&) = delete;

  std::string socket() const { return folder_ + "/s"; }
  pid_t pid() const { return process_->pid(); }
  bool is_running() { return !process_->Wait(std::chrono::milliseconds(0)).has_value(); }
  std::string Output() const;

  // Series of the store with their labels but for `role`, such as entries{state="sealed"}, and
  // their values. Unavailable: the admin port does not answer.
  absl::StatusOr<std::map<std::string, double>> Metrics() const;

  // Asks it to end and waits. Internal: it ended in another way than it should, or its output has a
  // sanitizer's report.
  absl::Status Stop();

 private:
  explicit StoreProcess(std::string folder) : folder_(std::move(folder)) {}

  const std::string folder_;
  std::unique_ptr<ScopedChild> process_;
  int admin_port_ = 0;
};

}  // namespace skv::hostile
