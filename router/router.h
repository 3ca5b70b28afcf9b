#pragma once
// Takes a client's request through the cluster. Knows no wire format: front doors (router/grpc)
// turn theirs into a Request and a ClientStream.

#include <atomic>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "router/admission/concurrency_limiter.h"
#include "router/admission/request.h"
#include "router/event.h"
#include "router/membership/membership.h"
#include "router/relay.h"

namespace skv::router {

struct RouterOptions {
  int max_concurrent_requests = 1024;
  // Other groups that a request may try before its first token.
  int max_retries = 3;
  // Times that each sample may go on with another group after the first token.
  int max_migrations = 3;
  // For how long a stream waits for a group where none is left; 0: not at all.
  Duration migration_wait = std::chrono::seconds(30);
};

struct ModelSummary {
  std::string name;
  std::string fingerprint;
  int64_t context_length = 0;
  int64_t vocab_size = 0;
  int num_healthy_groups = 0;
};

// Thread-safe.
class Router {
 public:
  // `membership` and `clock` outlive the router. `draw` gives random bits for seeds and request
  // ids. `on_end` hears how each request ended, refused ones included; it must be thread-safe.
  Router(RouterOptions options, Membership* membership, const Clock* clock,
         std::function<uint64_t()> draw, std::function<void(const RelayStats&)> on_end);

  // A place for one request, to be asked for before its body is parsed. ResourceExhausted or
  // Unavailable.
  absl::StatusOr<ConcurrencyLimiter::Ticket> Enter();

  // Tokenises, admits, picks a group and relays. An error: nothing was started and `client` is not
  // called. OK: `client` gets the events and one Finish, on other threads, perhaps before this
  // returns; cancel through the relay. Takes as long as tokenising: not for a thread that polls.
  absl::StatusOr<std::shared_ptr<Relay>> Generate(Request request, Deadline deadline,
                                                  TimePoint arrival,
                                                  ConcurrencyLimiter::Ticket ticket,
                                                  std::shared_ptr<ClientStream> client);

  // Counts a request that entered and was refused by the front door itself.
  void CountRefused(const absl::Status& status, TimePoint arrival);

  std::vector<ModelSummary> ListModels() const;

  // `listener` hears whether any worker group is healthy: at once, then at each look at the
  // cluster. Null: nobody does; no call is under way any more on return.
  void WatchHealth(std::function<void(bool any_healthy)> listener);

  // Every later Enter fails with Unavailable.
  void StartDrain() { limiter_.Close(); }
  // True when no request is in flight, false when that took longer than `timeout`.
  bool WaitUntilIdle(Duration timeout) { return limiter_.WaitUntilEmpty(timeout); }

  int num_in_flight() const { return limiter_.in_flight(); }

 private:
  absl::StatusOr<std::shared_ptr<Relay>> CreateRelay(Request request, Deadline deadline,
                                                     TimePoint arrival,
                                                     ConcurrencyLimiter::Ticket ticket,
                                                     std::shared_ptr<ClientStream> client);

  const RouterOptions options_;
  Membership* const membership_;
  const Clock* const clock_;
  const std::function<uint64_t()> draw_;
  const std::function<void(const RelayStats&)> on_end_;
  ConcurrencyLimiter limiter_;
  std::atomic<uint64_t> next_sequence_{0};
};

}  // namespace skv::router
