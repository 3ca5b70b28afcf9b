#pragma once
// Bytes that each tenant takes, and may take. A tenant with a quota has an eviction partition of
// its own; all others share partition 0, whose quota is the whole capacity. Not thread-safe.

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace skv::kvstore {

using TenantIdx = uint32_t;  // dense; names are the caller's

class TenantTable {
 public:
  // Tenant 0 exists and has no quota.
  TenantTable(int64_t capacity_bytes, uint32_t max_tenants);

  // `quota_bytes` 0: none. InvalidArgument: negative or above the capacity.
  // ResourceExhausted: max_tenants.
  absl::StatusOr<TenantIdx> Add(int64_t quota_bytes);
  // Holds from the next Create on; nothing is evicted now. InvalidArgument: no such tenant, or it
  // has none (it lies in the shared partition), or `quota_bytes` is not in [1, capacity].
  absl::Status SetQuota(TenantIdx tenant, int64_t quota_bytes);

  bool Has(TenantIdx tenant) const { return tenant < tenants_.size(); }
  // REQUIRES: Has(tenant), here and below.
  void Charge(TenantIdx tenant, int64_t bytes);  // negative: gives back
  uint32_t PartitionOf(TenantIdx tenant) const { return HasQuota(tenant) ? tenant : 0; }
  int64_t bytes(TenantIdx tenant) const { return tenants_[tenant].bytes; }
  int64_t quota_bytes(TenantIdx tenant) const { return tenants_[tenant].quota_bytes; }

  // The partition that takes the largest part of its quota; of equals the lowest. nullopt when all
  // are `excluded` (one flag a tenant) or empty. Walks the tenants: at most a microsecond.
  std::optional<uint32_t> FullestPartition(const std::vector<bool>& excluded) const;

  int64_t bytes() const { return bytes_; }
  uint32_t size() const { return static_cast<uint32_t>(tenants_.size()); }

 private:
  struct Tenant {
    int64_t quota_bytes = 0;  // the capacity when it has none
    bool has_quota = false;
    int64_t bytes = 0;
    int64_t partition_bytes = 0;  // of the partition of its number
  };
  bool HasQuota(TenantIdx tenant) const { return tenants_[tenant].has_quota; }
  absl::Status CheckQuota(int64_t quota_bytes) const;

  const int64_t capacity_bytes_;
  const uint32_t max_tenants_;
  std::vector<Tenant> tenants_;
  int64_t bytes_ = 0;
};

}  // namespace skv::kvstore
