#include "kvstore/tier/guarded_tier.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"

namespace skv::kvstore {

absl::Status GuardedTier::CheckLetThrough() {
  MutexLock lock(&mutex_);
  if (is_on_) return absl::OkStatus();
  const Duration left = retry_at_ - clock_.Now();
  if (left <= Duration::zero()) return absl::OkStatus();
  ++num_held_back_;
  return absl::UnavailableError(
      absl::StrCat("tier ", Sv(name()), " is off; it is tried again in ", ToSeconds(left), " s"));
}

void GuardedTier::Note(const absl::Status& status) {
  const bool is_on = !absl::IsUnavailable(status);
  bool was_on = true;
  {
    MutexLock lock(&mutex_);
    was_on = is_on_;
    is_on_ = is_on;
  }
  if (!is_on) {
    pause_ = was_on ? kFirstPause : std::min(2 * pause_, kLongestPause);
    retry_at_ = clock_.Now() + pause_;
  }
  if (was_on && !is_on) {
    SKV_LOG(WARNING) << "tier " << name()
                     << " is off, blocks that only it has are missed: " << status.message();
  } else if (!was_on && is_on) {
    SKV_LOG(INFO) << "tier " << name() << " is on again";
  }
}

absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> GuardedTier::Get(
    std::span<const TierKey> keys, TimePoint deadline) {
  SKV_RETURN_IF_ERROR(CheckLetThrough());
  auto values = tier_->Get(keys, deadline);
  Note(values.status());
  return values;
}

absl::Status GuardedTier::Put(std::span<const TierBlock> blocks, TimePoint deadline) {
  SKV_RETURN_IF_ERROR(CheckLetThrough());
  absl::Status status = tier_->Put(blocks, deadline);
  Note(status);
  return status;
}

absl::Status GuardedTier::Erase(std::span<const TierKey> keys, TimePoint deadline) {
  SKV_RETURN_IF_ERROR(CheckLetThrough());
  absl::Status status = tier_->Erase(keys, deadline);
  Note(status);
  return status;
}

TierGauges GuardedTier::gauges() const {
  TierGauges gauges = tier_->gauges();
  MutexLock lock(&mutex_);
  gauges.is_on = is_on_;
  gauges.num_failures += num_held_back_;
  return gauges;
}

}  // namespace skv::kvstore
