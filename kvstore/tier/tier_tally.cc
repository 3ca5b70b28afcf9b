#include "kvstore/tier/tier_tally.h"

namespace skv::kvstore {

TierTally::TierTally(bool is_on, uint64_t capacity_bytes) {
  gauges_.is_on = is_on;
  gauges_.capacity_bytes = capacity_bytes;
}

TierGauges TierTally::gauges() const {
  const MutexLock lock(&mutex_);
  return gauges_;
}

void TierTally::CountCall(const absl::Status& status, bool is_on) {
  const MutexLock lock(&mutex_);
  gauges_.is_on = is_on;
  if (!status.ok()) ++gauges_.num_failures;
}

void TierTally::CountRead(std::span<const absl::StatusOr<TierValue>> values) {
  const MutexLock lock(&mutex_);
  for (const absl::StatusOr<TierValue>& value : values) {
    ++(value.ok() ? gauges_.num_hits : gauges_.num_misses);
    if (value.ok()) gauges_.num_read_bytes += value->bytes.size();
  }
}

void TierTally::Update(absl::FunctionRef<void(TierGauges&)> change) {
  const MutexLock lock(&mutex_);
  change(gauges_);
}

}  // namespace skv::kvstore
