#pragma once
// Carries one admitted request to a worker group and its tokens back to the client.
//
// Before the first token a failed attempt goes on with a group that was not tried yet; after it, a
// lost group ends the stream with Unavailable. Neither the client's stream nor a group's client is
// called under the lock: both may call back from inside.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "router/admission/concurrency_limiter.h"
#include "router/event.h"
#include "router/membership/cluster.h"
#include "router/membership/membership.h"
#include "router/sample_stream.h"

namespace skv::router {

// How one request ended.
struct RelayStats {
  absl::StatusCode code = absl::StatusCode::kOk;
  double ttft_seconds = -1;  // negative: no token came
  double total_seconds = 0;
  int num_retries = 0;
  // Prompt tokens that the group was expected to have when it was picked.
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
  ConcurrencyLimiter::Ticket ticket;  // let go when the stream ends; the front door may hold it too
};

// Thread-safe. Lives until the client's stream and the group's stream have both ended.
class Relay : public std::enable_shared_from_this<Relay> {
 public:
  // `membership` and `clock` outlive every relay that has not ended. `on_end` is called once,
  // before the client's Finish and before the ticket is let go.
  static std::shared_ptr<Relay> Create(RelayJob job, Membership* membership, const Clock* clock,
                                       std::shared_ptr<ClientStream> client,
                                       std::function<void(const RelayStats&)> on_end);

  // Once, after Create.
  void Start() { TryNextGroup(); }

  // The client went away, or the router gives up: frees the group at once.
  void Cancel(absl::Status status) { End(std::move(status)); }

 private:
  class Attempt;
  struct Hold {  // on the group that is being tried
    std::shared_ptr<Group> group;
    std::shared_ptr<GroupStream> stream;
    uint64_t watch_id = 0;
    int64_t charged_tokens = 0;  // what it has still to process, of the prompt only what it lacks
    CacheId cache_id = kNoCache;
    std::string numerics_id;
  };

  Relay(RelayJob job, Membership* membership, const Clock* clock,
        std::shared_ptr<ClientStream> client, std::function<void(const RelayStats&)> on_end);

  void TryNextGroup();
  absl::Status PickLocked(const Cluster& cluster) SKV_REQUIRES(mutex_);
  void OnEvent(int attempt_idx, const GroupEvent& group_event);
  void OnDone(int attempt_idx, absl::Status status);
  void Fail(int attempt_idx, absl::Status status);
  void End(absl::Status status);

  absl::Status ApplyLocked(const GroupEvent& group_event, Event* event) SKV_REQUIRES(mutex_);
  void CompleteLocked(Event* event) SKV_REQUIRES(mutex_);
  // The group has the prompt, or will have it soon.
  void PromisePrefixLocked() SKV_REQUIRES(mutex_);
  void WithdrawPrefixLocked() SKV_REQUIRES(mutex_);
  void UnchargeLocked(int64_t num_tokens) SKV_REQUIRES(mutex_);
  bool ShouldRetryLocked(const absl::Status& status) const SKV_REQUIRES(mutex_);
  // Gives the group up; the caller cancels the stream that is returned, outside of the lock.
  std::shared_ptr<GroupStream> ReleaseLocked() SKV_REQUIRES(mutex_);

  RelayJob job_;  // constant, but for its ticket
  Membership* const membership_;
  const Clock* const clock_;
  const std::shared_ptr<ClientStream> client_;
  const std::function<void(const RelayStats&)> on_end_;

  Mutex mutex_;
  std::vector<SampleStream> samples_ SKV_GUARDED_BY(mutex_);
  std::vector<GroupId> tried_ SKV_GUARDED_BY(mutex_);
  Hold hold_ SKV_GUARDED_BY(mutex_);
  int attempt_idx_ SKV_GUARDED_BY(mutex_) = 0;
  absl::Status last_failure_ SKV_GUARDED_BY(mutex_);
  bool ended_ SKV_GUARDED_BY(mutex_) = false;
  RelayStats stats_ SKV_GUARDED_BY(mutex_);
  // Of the first token of any sample; null until the group sent them.
  std::optional<WorkerTimings> worker_timings_ SKV_GUARDED_BY(mutex_);
  TimePoint first_token_ SKV_GUARDED_BY(mutex_){};
  TimePoint last_token_ SKV_GUARDED_BY(mutex_){};
};

}  // namespace skv::router
