#include "router/admission/concurrency_limiter.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/mutex.h"

namespace skv::router {

struct ConcurrencyLimiter::State {
  Mutex mutex;
  CondVar changed;
  int max_in_flight = 0;
  int in_flight SKV_GUARDED_BY(mutex) = 0;
  bool closed SKV_GUARDED_BY(mutex) = false;
};

ConcurrencyLimiter::ConcurrencyLimiter(int max_in_flight) : state_(std::make_shared<State>()) {
  state_->max_in_flight = max_in_flight;
}

ConcurrencyLimiter::~ConcurrencyLimiter() = default;

absl::StatusOr<ConcurrencyLimiter::Ticket> ConcurrencyLimiter::Enter() {
  MutexLock lock(&state_->mutex);
  if (state_->closed) return absl::UnavailableError("this router is draining: use another");
  if (state_->in_flight >= state_->max_in_flight) {
    return absl::ResourceExhaustedError(absl::StrCat("requests in flight: ", state_->in_flight,
                                                     ", at most --max-concurrent-requests ",
                                                     state_->max_in_flight, ": retry later"));
  }
  ++state_->in_flight;
  return Ticket(nullptr, [state = state_](void*) {
    MutexLock lock(&state->mutex);
    --state->in_flight;
    state->changed.NotifyAll();
  });
}

void ConcurrencyLimiter::Close() {
  MutexLock lock(&state_->mutex);
  state_->closed = true;
}

int ConcurrencyLimiter::in_flight() const {
  MutexLock lock(&state_->mutex);
  return state_->in_flight;
}

bool ConcurrencyLimiter::WaitUntilEmpty(Duration timeout) {
  MutexLock lock(&state_->mutex);
  return state_->changed.WaitUntil(&state_->mutex, RealClock().Now() + timeout,
                                   [this] { return state_->in_flight == 0; });
}

}  // namespace skv::router
