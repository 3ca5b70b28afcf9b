#include "kvstore/server/store_admin.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace skv::kvstore {
namespace {

// Between two looks at the clock. One eviction takes about a microsecond.
constexpr uint32_t kPurgedAtOnce = 16;

}  // namespace

StoreAdmin::StoreAdmin(BlockStore* store, const EventFeed* events,
                       std::map<std::string, TenantIdx> tenants, const Clock* clock)
    : store_(store), events_(events), tenants_(std::move(tenants)), clock_(clock) {}

StoreStats StoreAdmin::GetStats() const {
  StoreStats stats{.store = store_->gauges()};
  const TenantTable& table = store_->tenants();
  stats.tenants.push_back({.bytes = table.bytes(0), .quota_bytes = table.quota_bytes(0)});
  for (const auto& [name, tenant] : tenants_) {
    stats.tenants.push_back(
        {.name = name, .bytes = table.bytes(tenant), .quota_bytes = table.quota_bytes(tenant)});
  }
  return stats;
}

EntryPage StoreAdmin::ListEntries(EntryIdx begin, uint32_t max_entries) const {
  EntryPage page;
  page.next = store_->ListEntries(begin, std::min(max_entries, kMaxListed), &page.entries);
  return page;
}

SnapshotPage StoreAdmin::ReadSnapshot(EntryIdx begin) const {
  SnapshotPage page{.sequence = events_->next_sequence()};
  page.next = store_->ListAnnounced(begin, kMaxSnapshotEntries, &page.entries);
  return page;
}

absl::Status StoreAdmin::Pin(const EntryKey& key, Duration lifetime) {
  return store_->Pin(key, clock_->Now() + lifetime);
}

absl::StatusOr<TenantIdx> StoreAdmin::FindTenant(const std::string& name) const {
  if (name.empty()) return TenantIdx{0};
  const auto found = tenants_.find(name);
  if (found != tenants_.end()) return found->second;
  return absl::NotFoundError(
      absl::StrCat("tenant: '", name, "' has no quota (--tenant-quota of skv-kvstore)"));
}

std::string_view StoreAdmin::NameOf(TenantIdx tenant) const {
  for (const auto& [name, idx] : tenants_) {
    if (idx == tenant) return name;
  }
  return {};
}

Purged StoreAdmin::Purge(std::optional<TenantIdx> tenant, uint32_t max_entries) {
  const TimePoint end = clock_->Now() + kMaxPurgeTime;
  Purged all;
  while (!all.is_done && all.num_entries < max_entries) {
    const TimePoint now = clock_->Now();
    if (now >= end) break;
    const uint32_t at_once = std::min(kPurgedAtOnce, max_entries - all.num_entries);
    const Purged step = store_->Purge(tenant, at_once, now);
    all.num_entries += step.num_entries;
    all.bytes += step.bytes;
    all.is_done = step.is_done;
  }
  return all;
}

}  // namespace skv::kvstore
