// How the entry table makes room.

#include <optional>

#include "absl/strings/str_cat.h"
#include "kvstore/index/entry_table.h"

namespace skv::kvstore {

absl::Status EntryTable::MakeRoom(const NewShard& shard, bool adds_entry, TimePoint now,
                                  Changes* changes) {
  ExpirePins(now);
  const int64_t quota_bytes = tenants_.quota_bytes(shard.tenant);
  const uint32_t partition = tenants_.PartitionOf(shard.tenant);
  while (partition != 0 && tenants_.bytes(shard.tenant) + shard.bytes > quota_bytes) {
    if (EvictOneOf(partition, changes)) continue;
    return absl::ResourceExhaustedError(absl::StrCat(
        "block of ", shard.bytes, " bytes: tenant ", shard.tenant, " has ",
        tenants_.bytes(shard.tenant), " of ", quota_bytes, " bytes, and all of them are in use"));
  }
  while (tenants_.bytes() + shard.bytes > options_.capacity_bytes || entries_.ShardsFull() ||
         (adds_entry && entries_.EntriesFull())) {
    if (EvictOne(changes)) continue;
    return absl::ResourceExhaustedError(absl::StrCat(
        "block of ", shard.bytes, " bytes: ", tenants_.bytes(), " of ", options_.capacity_bytes,
        " bytes, ", entries_.num_entries(), " of ", options_.max_entries, " entries and ",
        entries_.num_shards(), " of ", options_.max_shards, " shards are in use, ", leased_bytes_,
        " bytes are leased"));
  }
  return absl::OkStatus();
}

int64_t EntryTable::Evict(int64_t bytes, TimePoint now, Changes* changes) {
  ExpirePins(now);
  const int64_t before = tenants_.bytes();
  while (before - tenants_.bytes() < bytes && EvictOne(changes)) {
  }
  return before - tenants_.bytes();
}

Purged EntryTable::Purge(std::optional<TenantIdx> tenant, uint32_t max_entries, TimePoint now,
                         Changes* changes) {
  ExpirePins(now);
  const int64_t before = tenants_.bytes();
  Purged purged;
  while (purged.num_entries < max_entries &&
         (tenant.has_value() ? EvictOneOf(tenants_.PartitionOf(*tenant), changes)
                             : EvictOne(changes))) {
    ++purged.num_entries;
  }
  purged.bytes = before - tenants_.bytes();
  // Fewer may have gone because the order took its most steps: the next call gets further.
  purged.is_done = !MeetsAny(tenant);
  return purged;
}

bool EntryTable::MeetsAny(std::optional<TenantIdx> tenant) const {
  if (tenant.has_value()) return order_->MeetsAny(tenants_.PartitionOf(*tenant));
  for (uint32_t i = 0; i < tenants_.size(); ++i) {
    if (order_->MeetsAny(i)) return true;
  }
  return false;
}

bool EntryTable::EvictOne(Changes* changes) {
  excluded_.assign(tenants_.size(), false);
  while (const std::optional<uint32_t> partition = tenants_.FullestPartition(excluded_)) {
    if (EvictOneOf(*partition, changes)) return true;
    excluded_[*partition] = true;
  }
  return false;
}

bool EntryTable::EvictOneOf(uint32_t partition, Changes* changes) {
  const std::optional<EntryIdx> victim =
      order_->PopVictim(partition, [this](EntryIdx idx) { return IsBlocked(idx); });
  if (!victim.has_value()) return false;
  FinishEviction(*victim, changes);
  return true;
}

// The order keeps no ghost of it: that it goes says nothing of how it was used.
bool EntryTable::EvictEntry(EntryIdx idx, Changes* changes) {
  if (!entries_.IsLive(idx) || entries_[idx].state != Entry::State::kSealed || IsBlocked(idx)) {
    return false;
  }
  order_->Erase(idx);
  FinishEviction(idx, changes);
  return true;
}

// The order has let go of the entry.
void EntryTable::FinishEviction(EntryIdx idx, Changes* changes) {
  AnnounceLoss(entries_[idx], changes);
  --num_sealed_;
  ++num_evicted_;
  Settle(Remove(idx, changes), changes);
}

}  // namespace skv::kvstore
