#include "kvstore/index/tenant_table.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::kvstore {

TenantTable::TenantTable(int64_t capacity_bytes, uint32_t max_tenants)
    : capacity_bytes_(capacity_bytes), max_tenants_(max_tenants) {
  tenants_.push_back({.quota_bytes = capacity_bytes});
}

absl::Status TenantTable::CheckQuota(int64_t quota_bytes) const {
  if (quota_bytes >= 1 && quota_bytes <= capacity_bytes_) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("tenant: quota is ", quota_bytes, " bytes, expected 1 to ", capacity_bytes_));
}

absl::StatusOr<TenantIdx> TenantTable::Add(int64_t quota_bytes) {
  if (quota_bytes != 0) SKV_RETURN_IF_ERROR(CheckQuota(quota_bytes));
  if (size() >= max_tenants_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("tenant: there are ", max_tenants_, " already (max_tenants)"));
  }
  tenants_.push_back({.quota_bytes = quota_bytes == 0 ? capacity_bytes_ : quota_bytes,
                      .has_quota = quota_bytes != 0});
  return size() - 1;
}

absl::Status TenantTable::SetQuota(TenantIdx tenant, int64_t quota_bytes) {
  if (!Has(tenant) || !HasQuota(tenant)) {
    return absl::InvalidArgumentError(
        absl::StrCat("tenant ", tenant, " is none that was added with a quota"));
  }
  SKV_RETURN_IF_ERROR(CheckQuota(quota_bytes));
  tenants_[tenant].quota_bytes = quota_bytes;
  return absl::OkStatus();
}

void TenantTable::Charge(TenantIdx tenant, int64_t bytes) {
  tenants_[tenant].bytes += bytes;
  tenants_[PartitionOf(tenant)].partition_bytes += bytes;
  bytes_ += bytes;
}

std::optional<uint32_t> TenantTable::FullestPartition(const std::vector<bool>& excluded) const {
  std::optional<uint32_t> fullest;
  double largest_part = 0;
  for (uint32_t i = 0; i < size(); ++i) {
    const double part = static_cast<double>(tenants_[i].partition_bytes) /
                        static_cast<double>(tenants_[i].quota_bytes);
    if (excluded[i] || part <= largest_part) continue;
    fullest = i;
    largest_part = part;
  }
  return fullest;
}

}  // namespace skv::kvstore
