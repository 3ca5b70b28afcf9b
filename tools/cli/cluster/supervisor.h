#pragma once
// Runs a local cluster: starts every process, restarts a group as a whole when one of its ranks
// ends, and the router alone when it ends, with a growing pause; stops all on request. One thread:
// the kernel kills the processes when it ends.

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/process.h"
#include "tools/cli/cluster/cluster_plan.h"

namespace skv::cli {

class Supervisor {
 public:
  explicit Supervisor(ClusterPlan plan);
  ~Supervisor();  // kills what still runs

  // Starts everything. Unavailable: a port is in use; Internal: a process cannot be started.
  absl::Status Start();
  // Restarts what has ended; call every few tens of milliseconds. Unavailable: something ended
  // again and again before it was ever ready; names its log.
  absl::Status Watch();
  // True once every process answers 200 on /readyz.
  bool IsReady();
  // Router first, so that its streams end while workers live; then the workers. Kills at the
  // deadline.
  void Stop(TimePoint deadline);

  const ClusterPlan& plan() const { return plan_; }
  // Process ids of the running processes: the router's, then the ranks' in order.
  std::vector<pid_t> pids() const;

 private:
  // The processes that live and die together.
  struct Unit {
    std::vector<ProcessPlan> processes;
    std::vector<std::unique_ptr<ScopedChild>> children;
    TimePoint restart_at{};
    int failures = 0;  // ends since it was last ready
  };
  absl::Status StartUnit(Unit* unit);
  absl::Status WatchUnit(Unit* unit);

  const ClusterPlan plan_;
  std::vector<Unit> units_;  // the router, then the groups
};

// GET http://host:port/path answers 200 within a second.
bool HttpOk(const std::string& host, int port, const std::string& path);

}  // namespace skv::cli
