#pragma once
// Caps the requests in flight and closes the door when the router drains.

#include <memory>

#include "absl/status/statusor.h"
#include "common/clock.h"

namespace skv::router {

// Thread-safe. Tickets may outlive the limiter.
class ConcurrencyLimiter {
 public:
  explicit ConcurrencyLimiter(int max_in_flight);
  ~ConcurrencyLimiter();

  // Holds one place until it is destroyed.
  using Ticket = std::shared_ptr<void>;

  // ResourceExhausted: full, naming the flag that raises the cap. Unavailable: closed.
  absl::StatusOr<Ticket> Enter();

  // Every later Enter fails.
  void Close();

  int in_flight() const;

  // True when nothing is in flight, false when that took longer than `timeout`.
  bool WaitUntilEmpty(Duration timeout);

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

}  // namespace skv::router
