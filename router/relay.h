#pragma once
// Carries one admitted request to a worker group and its tokens back to the client.
//
// A failed attempt goes on with a group that was not tried yet. Before the first token the request
// is sent again; after it, each sample that has not ended is sent on its own with the tokens that
// it has, to a group of the same arithmetic, so that the client sees one stream with the tokens
// that would have come: where all were tried, to one that is healthy again. Where none is left, it
// waits for one for some time, holding nothing but its place, also while that has no room. Nobody
// is called under the lock: who is called may call back.

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "router/admission/concurrency_limiter.h"
#include "router/attempt.h"
#include "router/event.h"
#include "router/group_choice.h"
#include "router/group_wait.h"
#include "router/membership/cluster.h"
#include "router/membership/membership.h"
#include "router/migration.h"
#include "router/sample_stream.h"

namespace skv::router {

// How one request ended.
struct RelayStats {
  absl::StatusCode code = absl::StatusCode::kOk;
  double ttft_seconds = -1;  // negative: no token came
  double total_seconds = 0;
  int num_retries = 0;  // before the first token
  MigrationCounts migrations;
  WaitCounts waits;
  // Prompt tokens that the group of the first token was expected to have when it was picked.
  int64_t expected_cached_tokens = 0;
  Usage usage;
};

struct RelayJob {
  GroupRequest request;
  PrefixChain prompt_prefix;      // of its prompt; empty: nothing is expected to be cached
  std::string client_request_id;  // of the events
  std::shared_ptr<const text::StopSet> stops;
  std::shared_ptr<const ServedModel> model;
  std::shared_ptr<const text::TokenText> prompt_text;  // only where the request is to be explained
  Deadline deadline = Deadline::max();
  TimePoint arrival;
  uint64_t sequence = 0;  // for the picker
  int max_retries = 0;
  int max_migrations = 0;             // of each sample
  Duration migration_wait{};          // for a group, each time that none is left; 0: never
  ConcurrencyLimiter::Ticket ticket;  // let go when the stream ends; the front door may hold it too
};

// Thread-safe. Lives until the client's stream and the groups' streams have ended.
class Relay : public std::enable_shared_from_this<Relay> {
 public:
  // `membership` and `clock` outlive every relay that has not ended. `on_end` is called once,
  // before the client's Finish and before the ticket is let go.
  static std::shared_ptr<Relay> Create(RelayJob job, Membership* membership, const Clock* clock,
                                       std::shared_ptr<ClientStream> client,
                                       std::function<void(const RelayStats&)> on_end);

  // Once, after Create.
  void Start();

  // The client went away, or the router gives up: frees the groups at once.
  void Cancel(absl::Status status) { End(std::move(status)); }

 private:
  class Handler;

  Relay(RelayJob job, Membership* membership, const Clock* clock,
        std::shared_ptr<ClientStream> client, std::function<void(const RelayStats&)> on_end);

  void TryNextGroup(const Part& part);
  void OnWake(const Part& part, uint64_t wait_id, bool time_is_over);
  void Open(const std::shared_ptr<Attempt>& attempt, const GroupRequest& request);
  void OnEvent(Attempt* attempt, const GroupEvent& group_event);
  void WriteOut();
  void OnDone(Attempt* attempt, absl::Status status);
  void OnStall(Attempt* attempt, const absl::Status& status);
  void Fail(Attempt* attempt, absl::Status status, MigrationReason reason);
  void End(absl::Status status);

  // The attempt lives while the relay keeps it and while its stream may call.
  absl::StatusOr<std::shared_ptr<Attempt>> PickLocked(const Cluster& cluster, Part part,
                                                      GroupRequest* request) SKV_REQUIRES(mutex_);
  // Valid while the lock is held.
  GroupNeeds NeedsLocked() const SKV_REQUIRES(mutex_);
  // OK: the part waits until OnWake. Else what ends the request.
  absl::Status WaitLocked(const Cluster& cluster, Part part, const absl::Status& no_group)
      SKV_REQUIRES(mutex_);
  absl::Status NoGroupLocked(const Cluster& cluster) const SKV_REQUIRES(mutex_);
  GroupRequest MakeRequestLocked(const Part& part) SKV_REQUIRES(mutex_);
  void NoteMigrationLocked(const Part& part, const Group& group) SKV_REQUIRES(mutex_);

  absl::Status ApplyLocked(Attempt* attempt, const GroupEvent& group_event, Event* event)
      SKV_REQUIRES(mutex_);
  void NoteTokensLocked(int64_t num_tokens, const Attempt& attempt) SKV_REQUIRES(mutex_);
  void CompleteLocked(Event* event) SKV_REQUIRES(mutex_);
  bool AllFinishedLocked(const Part& part) const SKV_REQUIRES(mutex_);

  // What is to be tried after this failure; empty: nothing, the request ends with it.
  std::vector<Part> NextPartsLocked(const Attempt& attempt, const absl::Status& status,
                                    MigrationReason reason) SKV_REQUIRES(mutex_);
  bool IsDrainingLocked(const Group& group) const SKV_REQUIRES(mutex_);
  // Gives the group up. The stream that is to be cancelled, outside of the lock; null: it ends by
  // itself, or will be cancelled by who is just starting it.
  std::shared_ptr<GroupStream> ReleaseLocked(Attempt* attempt) SKV_REQUIRES(mutex_);

  RelayJob job_;  // constant, but for its ticket
  Membership* const membership_;
  const Clock* const clock_;
  const std::shared_ptr<ClientStream> client_;
  const std::function<void(const RelayStats&)> on_end_;

  Mutex mutex_;
  std::vector<SampleStream> samples_ SKV_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Attempt>> attempts_ SKV_GUARDED_BY(mutex_);  // not released
  std::vector<uint64_t> waits_ SKV_GUARDED_BY(mutex_);                     // ids, of membership
  // Of the group that sent the first token: only equal ones go on with it.
  std::optional<std::string> numerics_id_ SKV_GUARDED_BY(mutex_);
  // What one thread is about to write, in the order in which it was applied: groups send on threads
  // of their own. Writing never blocks, so it stays short.
  std::deque<Event> outbox_ SKV_GUARDED_BY(mutex_);
  bool writing_ SKV_GUARDED_BY(mutex_) = false;
  absl::Status last_failure_ SKV_GUARDED_BY(mutex_);
  bool ended_ SKV_GUARDED_BY(mutex_) = false;
  RelayStats stats_ SKV_GUARDED_BY(mutex_);
  bool cached_tokens_known_ SKV_GUARDED_BY(mutex_) = false;
  // Of the first token of any sample; null until the group sent them.
  std::optional<WorkerTimings> worker_timings_ SKV_GUARDED_BY(mutex_);
  TimePoint first_token_ SKV_GUARDED_BY(mutex_){};
  TimePoint last_token_ SKV_GUARDED_BY(mutex_){};
};

}  // namespace skv::router
