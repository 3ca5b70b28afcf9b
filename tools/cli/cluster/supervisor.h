#pragma once
// Runs a local cluster: starts every process, restarts a group as a whole when one of its ranks
// ends, and the router or the store alone when it ends, with a growing pause; stops all on request.
// One thread: the kernel kills the processes when it ends.

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

  // Starts everything, once all ports are free. Unavailable: one is in use; InvalidArgument: the
  // router's host is no address of this machine; Internal: a process cannot be started.
  absl::Status Start();
  // Restarts what has ended and asks what is not ready yet; call every few tens of milliseconds.
  // Unavailable: something ended again and again before it was ready; names its log.
  absl::Status Watch();
  // As of the last Watch: every process has said on /readyz that it is, since it was last started.
  bool IsReady() const;
  // Router first, so that its streams end while workers live; then the workers; then the store.
  // Kills at the deadline, or as soon as `hurry`, asked every few tens of milliseconds, is true.
  void Stop(TimePoint deadline, const std::function<bool()>& hurry);

  const ClusterPlan& plan() const { return plan_; }
  // Process ids of the running processes: the router's, then the ranks' in order, then the store's.
  std::vector<pid_t> pids() const;

 private:
  // The processes that live and die together.
  struct Unit {
    std::vector<ProcessPlan> processes;
    std::vector<std::unique_ptr<ScopedChild>> children;
    TimePoint restart_at{};
    bool ready = false;
    int failures = 0;  // ends since it was last ready
  };
  absl::Status StartUnit(Unit* unit);
  absl::Status WatchUnit(Unit* unit);
  // Plans the restart of `unit`, of which `process` has ended.
  absl::Status NoteEnd(Unit* unit, const ProcessPlan& process, const ExitState& end);
  bool AllReady(const Unit& unit) const;

  const ClusterPlan plan_;
  std::vector<Unit> units_;  // the router, then the groups, then the store if there is one
};

}  // namespace skv::cli
