#pragma once
// A tier that is left alone for a while after it failed, so that nobody waits for it again and
// again.

#include <chrono>
#include <memory>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "kvstore/tier/tier.h"

namespace skv::kvstore {

// A call that comes back Unavailable turns the tier off: calls are Unavailable at once, and do not
// reach it, for kFirstPause. The next call after that tries it again: if it too is Unavailable, the
// pause doubles, up to kLongestPause; any other answer turns the tier on. One line is logged for
// each change.
//
// gauges() are the tier's, but is_on is this one's, and calls that were not let through count as
// failures. Threads as in tier.h.
class GuardedTier : public Tier {
 public:
  static constexpr Duration kFirstPause = std::chrono::seconds(1);
  static constexpr Duration kLongestPause = std::chrono::seconds(30);

  // `clock` outlives this.
  GuardedTier(std::unique_ptr<Tier> tier, const Clock& clock)
      : tier_(std::move(tier)), clock_(clock) {}

  std::string_view name() const override { return tier_->name(); }
  absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> Get(std::span<const TierKey> keys,
                                                             TimePoint deadline) override;
  absl::Status Put(std::span<const TierBlock> blocks, TimePoint deadline) override;
  absl::Status Erase(std::span<const TierKey> keys, TimePoint deadline) override;
  TierGauges gauges() const override;

 private:
  absl::Status CheckLetThrough();
  void Note(const absl::Status& status);

  const std::unique_ptr<Tier> tier_;
  const Clock& clock_;

  mutable Mutex mutex_;
  bool is_on_ SKV_GUARDED_BY(mutex_) = true;
  uint64_t num_held_back_ SKV_GUARDED_BY(mutex_) = 0;
  // Of the calling thread.
  Duration pause_ = {};
  TimePoint retry_at_;
};

}  // namespace skv::kvstore
