#pragma once
// What the thread of the sessions tells others of itself: gauges as of its last turn, and when that
// was. Scrapes read it and never wait for the store. Thread-safe.

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "kvstore/server/session_handler.h"
#include "kvstore/store/block_store.h"
#include "kvstore/tiering/tier_desk.h"

namespace skv::kvstore {

struct ServerGauges {
  BlockStoreGauges store;
  SessionGauges sessions;
  TierDeskGauges tiers;
  uint64_t num_accept_pauses = 0;  // since the start
};

class ServerStatus {
 public:
  // `clock` outlives this object. What there is of age counts from here.
  explicit ServerStatus(const Clock* clock) : clock_(clock) { TurnEnds(); }

  void Publish(const ServerGauges& gauges);
  void TurnEnds();
  void SetServing(bool is_serving) { is_serving_ = is_serving; }

  ServerGauges gauges() const;
  double turn_age_seconds() const;

  // Unavailable: the last turn ended longer than `max_age` ago while the store was serving.
  absl::Status CheckLive(Duration max_age) const;
  // Unavailable: it does not serve (yet, or any more).
  absl::Status CheckReady() const;

 private:
  const Clock* const clock_;
  std::atomic<TimePoint> last_turn_;
  std::atomic<bool> is_serving_{false};
  mutable Mutex mutex_;
  ServerGauges gauges_ SKV_GUARDED_BY(mutex_);
};

}  // namespace skv::kvstore
