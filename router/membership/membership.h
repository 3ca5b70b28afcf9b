#pragma once
// Knows which worker groups there are and which of them can take a request.
//
// Active health: every group is probed (grpc.health.v1 and load report) once an interval. Passive:
// a relay that loses a group says so, and the group is out until its next good probe. A group that
// gave no sign of life for the stall time-out, or whose slowest rank is stuck that long in a step,
// is lost: its streams are told, so that no client hangs on a stopped worker. That holds for a
// group that has left the list, too, until its last stream has ended.
//
// First contact fetches model and tokenizer. A group whose fingerprint or KV policies differ from
// those of a healthy group with the same model name is kept out, with both named: a request gets
// the same answer from every group.
//
// A stream that finds no group may wait here until one becomes healthy.
//
// It also knows which caches of prompts there are: a group that restarts, or whose store does, has
// a new one.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "router/balancer/picker.h"
#include "router/balancer/prefix_index.h"
#include "router/membership/cluster.h"
#include "router/membership/group_client.h"
#include "router/membership/group_waiters.h"
#include "router/membership/worker_source.h"

namespace skv::router {

struct MembershipOptions {
  Duration probe_interval = std::chrono::seconds(1);
  Duration probe_timeout = std::chrono::seconds(1);
  Duration stall_timeout = std::chrono::seconds(3);
  Duration model_info_timeout = std::chrono::seconds(10);
  size_t max_waiting_streams = 1024;
};

// The longest that a group can be stuck before its streams are told: the stall time-out, a probe
// that just missed it, and the tick that sends the next probe. A probe's own travel comes on top.
Duration LossDetectionTime(const MembershipOptions& options);

// InvalidArgument: so few probes that a healthy idle group would be taken for a stalled one.
absl::Status ValidateMembershipOptions(const MembershipOptions& options);

class Membership {
 public:
  // `options` are valid; `clock` outlives the membership. `prefixes` is told which caches there
  // are; null: nobody asks for them.
  Membership(MembershipOptions options, std::unique_ptr<WorkerSource> source,
             GroupClientFactory client_factory, PickerFactory picker_factory, const Clock* clock,
             std::shared_ptr<PrefixIndex> prefixes = nullptr);
  ~Membership();  // stops the thread; callbacks that come later are dropped

  // Runs Tick several times an interval and whenever something has come in. At most once.
  void Start();

  // May be null.
  const std::shared_ptr<PrefixIndex>& prefixes() const { return prefixes_; }

  // Never null; empty until the first Tick. Thread-safe.
  std::shared_ptr<const Cluster> snapshot() const;

  // `listener` hears of the present snapshot at once, and of each later one just before it is to be
  // seen; it must not call back. Null: nobody does; no call is under way any more on return.
  // Thread-safe.
  void SetListener(std::function<void(const Cluster&)> listener);

  // A relay lost this group, e.g. its connection broke. Thread-safe, does not block.
  void ReportLost(GroupId group_id, absl::Status status);

  // Calls `waiter` from Tick, whenever the cluster has recovered more than `seen`, in whose
  // snapshot no group was found, once at `again`, and last at `until`; see GroupWaiters. nullopt:
  // too many wait. Thread-safe, does not block.
  std::optional<uint64_t> WaitForGroup(const Cluster& seen, TimePoint until,
                                       GroupWaiters::Waiter waiter,
                                       TimePoint again = TimePoint::max());
  void StopWaiting(uint64_t id) { waiters_.Leave(id); }
  size_t num_waiting() const { return waiters_.size(); }
  size_t max_waiting() const { return waiters_.max_size(); }

  // One round: members, results, probes, stalls, snapshot, waiters. True: some waiters are left for
  // the next one, which must not be late. Without Start only; from one thread.
  bool Tick();

 private:
  struct Member;
  struct ModelIdentity;
  struct Inbox;

  void RefreshMembers();
  void StartProbe(Member* member);
  void StartFetch(Member* member);
  void OnProbe(Member* member, const absl::StatusOr<ProbeResult>& result);
  void OnModelInfo(Member* member, absl::StatusOr<ModelInfo> info);
  absl::Status AdoptModel(Member* member, ModelInfo info);
  // The same model with the same KV policies and naming of prefixes, from a member that has it;
  // null when none does. FailedPrecondition: a healthy group serves that name with another
  // fingerprint or policies.
  absl::StatusOr<std::shared_ptr<const ServedModel>> FindAgreed(const Member& member,
                                                                const ModelIdentity& model) const;
  static void LogKeptOut(const Member& member, const absl::Status& status);
  void CheckStall(Member* member);
  void NoteCache(Member* member, const LoadReport& load);
  void PublishCaches();
  void SetHealth(Member* member, absl::Status health);
  void CountRecoveries(Cluster* cluster);
  void Publish();
  // Of a healthy member; `model` is that of its name.
  static Candidate MakeCandidate(const Member& member, const ClusterModel& model);
  void Run();
  // `act` runs on the membership's thread with the member, unless that is gone.
  std::function<void(std::function<void(Member*)>)> Poster(GroupId group_id);

  const MembershipOptions options_;
  const std::unique_ptr<WorkerSource> source_;
  const GroupClientFactory client_factory_;
  const PickerFactory picker_factory_;
  const Clock* const clock_;
  const std::shared_ptr<PrefixIndex> prefixes_;
  const std::shared_ptr<Inbox> inbox_;
  GroupWaiters waiters_;

  // Touched by the ticking thread only.
  std::map<GroupId, std::unique_ptr<Member>> members_;
  GroupId next_group_id_ = 0;
  CacheId next_cache_id_ = 0;
  uint64_t num_recoveries_ = 0;
  TimePoint next_refresh_{};
  TimePoint last_tick_{};

  // Before snapshot_mutex_.
  Mutex listener_mutex_;
  std::function<void(const Cluster&)> listener_ SKV_GUARDED_BY(listener_mutex_);
  mutable Mutex snapshot_mutex_;
  std::shared_ptr<const Cluster> snapshot_ SKV_GUARDED_BY(snapshot_mutex_);
  std::thread thread_;
};

}  // namespace skv::router
