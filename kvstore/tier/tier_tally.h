#pragma once
// What a tier has done, for its gauges. Thread-safe.

#include <cstdint>
#include <span>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "kvstore/tier/tier.h"

namespace skv::kvstore {

class TierTally {
 public:
  // `capacity_bytes` as in TierGauges.
  explicit TierTally(bool is_on, uint64_t capacity_bytes = 0);

  TierGauges gauges() const;

  // A call has ended with `status`; the tier is on after it, or not.
  void CountCall(const absl::Status& status, bool is_on);
  // The values of a Get.
  void CountRead(std::span<const absl::StatusOr<TierValue>> values);
  // All else; `change` runs under the lock of the gauges.
  void Update(absl::FunctionRef<void(TierGauges&)> change);

 private:
  mutable Mutex mutex_;
  TierGauges gauges_ SKV_GUARDED_BY(mutex_);
};

}  // namespace skv::kvstore
