#include "kvstore/index/entry_table_types.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::kvstore {

absl::Status CheckRange(std::string_view field, int64_t value, int64_t min, int64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(Sv(field), " is ", value, ", expected ", min, " to ", max));
}

absl::Status EntryTableOptions::Validate() const {
  constexpr int64_t kMaxIndices = (1 << 30) - 1;
  SKV_RETURN_IF_ERROR(CheckRange("capacity_bytes", capacity_bytes, 1, int64_t{1} << 50));
  SKV_RETURN_IF_ERROR(CheckRange("max_entries", max_entries, 1, kMaxIndices));
  SKV_RETURN_IF_ERROR(CheckRange("max_shards", max_shards, 1, kMaxIndices));
  SKV_RETURN_IF_ERROR(CheckRange("max_tenants", max_tenants, 1, 1 << 16));
  SKV_RETURN_IF_ERROR(CheckRange("max_sessions", leases.max_sessions, 1, kMaxIndices));
  SKV_RETURN_IF_ERROR(CheckRange("max_leases", leases.max_leases, 1, kMaxIndices));
  return CheckRange("watch_stride", watch_stride, 1, kMaxIndices);
}

void Changes::Clear() {
  freed.clear();
  events.clear();
  sealed.clear();
  abandoned.clear();
}

}  // namespace skv::kvstore
