#include "kvstore/index/entry_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"

namespace skv::kvstore {

// Where a new shard belongs.
struct EntryTable::Found {
  EntryIdx parent = kNoEntry;
  EntryIdx entry = kNoEntry;  // kNoEntry: to be added
};

EntryTable::EntryTable(const EntryTableOptions& options, std::unique_ptr<EvictionOrder> order)
    : options_(options),
      order_(std::move(order)),
      entries_(options.max_entries, options.max_shards),
      leases_(options.leases),
      pins_(options.max_pins),
      tenants_(options.capacity_bytes, options.max_tenants) {
  SKV_CHECK(options.Validate().ok());
}

absl::Status EntryTable::CloseSession(SessionId session, Changes* changes) {
  SKV_RETURN_IF_ERROR(leases_.CheckSession(session));
  for (uint32_t lease; (lease = leases_.AnyOf(session)) != IdQueue::kNone;) {
    EndLease(lease, changes);
  }
  leases_.CloseSession(session);
  return absl::OkStatus();
}

absl::Status EntryTable::CheckShard(const NewShard& shard) const {
  if (!tenants_.Has(shard.tenant)) {
    return absl::InvalidArgumentError(absl::StrCat("tenant ", shard.tenant, " does not exist"));
  }
  SKV_RETURN_IF_ERROR(CheckRange("world_size", shard.world_size, 1, kMaxRanks));
  SKV_RETURN_IF_ERROR(CheckRange("rank", shard.rank, 0, shard.world_size - 1));
  return CheckRange("block: bytes", shard.bytes, 1, tenants_.quota_bytes(shard.tenant));
}

absl::StatusOr<EntryTable::Found> EntryTable::FindForCreate(const NewShard& shard,
                                                            Changes* changes) {
  Found found;
  if (shard.parent.has_value()) {
    found.parent = entries_.Find({*shard.parent, shard.key.layout});
    if (found.parent == kNoEntry) return absl::NotFoundError("block: its parent is not there");
  }
  found.entry = entries_.Find(shard.key);
  if (found.entry == kNoEntry || entries_[found.entry].parent == found.parent) return found;
  const EntryIdx other_parent = entries_[found.entry].parent;
  if (other_parent == kNoEntry || entries_[other_parent].state != Entry::State::kDropped) {
    return absl::InvalidArgumentError("block: its key is there under another parent");
  }
  // It hangs below a dropped entry, where no chain of keys leads to.
  Drop(found.entry, changes);
  Settle(found.entry, changes);
  found.entry = kNoEntry;
  return found;
}

absl::Status EntryTable::CheckJoins(EntryIdx idx, const NewShard& shard) const {
  const Entry& entry = entries_[idx];
  if (entry.tenant == shard.tenant && entry.world_size == shard.world_size) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("block: tenant ", shard.tenant, ", world size ",
                                                 shard.world_size, "; its entry has tenant ",
                                                 entry.tenant, ", world size ", entry.world_size));
}

Created EntryTable::InProgress(EntryIdx idx) const {
  Created created{.outcome = Created::Outcome::kInProgress};
  const uint32_t unsealed = entries_.UnsealedShardOf(idx);
  if (unsealed != kNoShard) created.writer = leases_.SessionOf(entries_.shard(unsealed).writer);
  return created;
}

absl::StatusOr<Created> EntryTable::Create(SessionId session, const NewShard& shard, TimePoint now,
                                           Changes* changes) {
  SKV_RETURN_IF_ERROR(leases_.CheckSession(session));
  SKV_RETURN_IF_ERROR(CheckShard(shard));
  SKV_ASSIGN_OR_RETURN(Found found, FindForCreate(shard, changes));
  if (found.entry != kNoEntry) {
    if (entries_[found.entry].state == Entry::State::kSealed) {
      return Created{.outcome = Created::Outcome::kExists};
    }
    SKV_RETURN_IF_ERROR(CheckJoins(found.entry, shard));
    if (entries_.ShardOf(found.entry, shard.rank) != kNoShard) return InProgress(found.entry);
  }
  SKV_RETURN_IF_ERROR(leases_.CheckRoom(session));
  // What the shard belongs to must not make room for it.
  Hold(found.parent);
  Hold(found.entry);
  const absl::Status room = MakeRoom(shard, found.entry == kNoEntry, now, changes);
  Unhold(found.entry);
  Unhold(found.parent);
  if (!room.ok()) {
    if (found.entry != kNoEntry) Settle(found.entry, changes);
    if (found.parent != kNoEntry) Settle(found.parent, changes);
    return room;
  }
  if (found.entry == kNoEntry) {
    found.entry = entries_.Add(shard.key, found.parent);
    entries_[found.entry].tenant = static_cast<uint16_t>(shard.tenant);
    entries_[found.entry].world_size = static_cast<uint8_t>(shard.world_size);
  }
  return BeginWriting(session, found.entry, shard);
}

void EntryTable::Hold(EntryIdx idx) {
  if (idx != kNoEntry) ++entries_[idx].num_leases;
}

void EntryTable::Unhold(EntryIdx idx) {
  if (idx != kNoEntry) --entries_[idx].num_leases;
}

Created EntryTable::BeginWriting(SessionId session, EntryIdx idx, const NewShard& shard) {
  const uint32_t shard_idx = entries_.AddShard(idx, shard.rank, shard.bytes);
  tenants_.Charge(shard.tenant, shard.bytes);
  const LeaseId lease = leases_.Add(session, idx, shard_idx);
  entries_.shard(shard_idx).writer = lease.index;
  leased_bytes_ += shard.bytes;
  if (++entries_[idx].num_leases == 1) {
    ++num_leased_;
    leased_bytes_ += entries_[idx].bytes - shard.bytes;
  }
  return {.lease = lease, .entry = idx, .shard = shard_idx};
}

absl::Status EntryTable::Place(SessionId session, LeaseId lease, int64_t offset) {
  SKV_RETURN_IF_ERROR(leases_.CheckLease(session, lease));
  const uint32_t shard = leases_[lease.index].shard;
  if (shard == kNoShard || entries_.shard(shard).offset != Shard::kUnplaced || offset < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "lease ", lease.index, ": no block without a place is written under it, or offset ", offset,
        " is negative"));
  }
  entries_.shard(shard).offset = offset;
  return absl::OkStatus();
}

absl::Status EntryTable::Withdraw(SessionId session, LeaseId lease, Changes* changes) {
  SKV_RETURN_IF_ERROR(leases_.CheckLease(session, lease));
  const auto [entry, shard] = std::pair(leases_[lease.index].entry, leases_[lease.index].shard);
  if (shard == kNoShard || entries_.shard(shard).offset != Shard::kUnplaced ||
      entries_[entry].first_shard != shard) {
    return absl::InvalidArgumentError(
        absl::StrCat("lease ", lease.index, ": not that of the block created last"));
  }
  const int64_t bytes = entries_.shard(shard).bytes;
  entries_.RemoveLastShard(entry);
  leased_bytes_ -= bytes;
  tenants_.Charge(entries_[entry].tenant, -bytes);
  RemoveLease(lease.index);
  Settle(entry, changes);
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> EntryTable::ShardToSeal(SessionId session, LeaseId lease) const {
  SKV_RETURN_IF_ERROR(leases_.CheckLease(session, lease));
  const uint32_t shard_idx = leases_[lease.index].shard;
  if (shard_idx == kNoShard) {
    return absl::InvalidArgumentError(
        absl::StrCat("lease ", lease.index, ": no block is written under it"));
  }
  if (entries_[leases_[lease.index].entry].state == Entry::State::kDropped) {
    return absl::AbortedError("block: another writer of its entry or chain is gone");
  }
  if (entries_.shard(shard_idx).offset == Shard::kUnplaced) {
    return absl::FailedPreconditionError("block: sealed before it had a place");
  }
  return shard_idx;
}

absl::StatusOr<bool> EntryTable::Seal(SessionId session, LeaseId lease, bool is_tip,
                                      Changes* changes) {
  SKV_ASSIGN_OR_RETURN(const uint32_t shard, ShardToSeal(session, lease));
  const EntryIdx idx = leases_[lease.index].entry;
  Entry& entry = entries_[idx];
  entries_.shard(shard).sealed = true;
  leases_[lease.index].shard = kNoShard;
  entry.is_tip |= is_tip;
  if (++entry.num_sealed < entry.world_size) return false;
  MakeVisible(idx, changes);
  return true;
}

void EntryTable::MakeVisible(EntryIdx idx, Changes* changes) {
  Entry& entry = entries_[idx];
  entry.state = Entry::State::kSealed;
  ++num_sealed_;
  order_->Insert({.id = idx,
                  .key_hash = entry.key_hash,
                  .bytes = entry.bytes,
                  .partition = tenants_.PartitionOf(entry.tenant)});
  changes->sealed.push_back(entry.key);
  entry.announced = entry.is_tip || IsSampledPrefix(entry.depth, options_.watch_stride);
  if (entry.announced) changes->events.push_back(EventOf(EntryEvent::Kind::kSealed, entry));
}

absl::StatusOr<Hit> EntryTable::Lookup(SessionId session, uint32_t rank,
                                       absl::Span<const EntryKey> keys,
                                       std::vector<ShardBytes>* blocks) {
  SKV_RETURN_IF_ERROR(leases_.CheckRoom(session));
  blocks->clear();
  entries_.FindChain(keys, &chain_);
  for (const EntryIdx idx : chain_) {
    const uint32_t shard = entries_.ShardOf(idx, rank);
    if (shard == kNoShard) break;  // a rank beyond the group
    blocks->push_back({entries_.shard(shard).offset, entries_.shard(shard).bytes});
  }
  chain_.resize(blocks->size());
  if (chain_.empty()) return Hit{};
  order_->Touch(chain_);
  return Hit{.num_entries = static_cast<uint32_t>(chain_.size()),
             .lease = AddReader(session, chain_.back())};
}

absl::StatusOr<LeaseId> EntryTable::LeaseEntry(SessionId session, const EntryKey& key,
                                               std::vector<ShardBytes>* shards) {
  SKV_RETURN_IF_ERROR(leases_.CheckRoom(session));
  const EntryIdx idx = entries_.Find(key);
  if (idx == kNoEntry || entries_[idx].state != Entry::State::kSealed) {
    return absl::NotFoundError("lease: no visible entry has this key");
  }
  shards->clear();
  for (uint32_t rank = 0; rank < entries_[idx].world_size; ++rank) {
    const Shard& shard = entries_.shard(entries_.ShardOf(idx, rank));
    shards->push_back({shard.offset, shard.bytes});
  }
  return AddReader(session, idx);
}

LeaseId EntryTable::AddReader(SessionId session, EntryIdx idx) {
  if (++entries_[idx].num_leases == 1) {
    ++num_leased_;
    leased_bytes_ += entries_[idx].bytes;
  }
  return leases_.Add(session, idx);
}

absl::Status EntryTable::Release(SessionId session, LeaseId lease, Changes* changes) {
  SKV_RETURN_IF_ERROR(leases_.CheckLease(session, lease));
  EndLease(lease.index, changes);
  return absl::OkStatus();
}

void EntryTable::EndLease(uint32_t lease, Changes* changes) {
  const EntryIdx idx = leases_[lease].entry;
  const bool writes = leases_[lease].shard != kNoShard;
  RemoveLease(lease);
  if (writes && entries_[idx].state != Entry::State::kDropped) Drop(idx, changes);
  Settle(idx, changes);
}

void EntryTable::RemoveLease(uint32_t lease) {
  Entry& entry = entries_[leases_[lease].entry];
  leases_.Remove(lease);
  if (--entry.num_leases > 0) return;
  --num_leased_;
  leased_bytes_ -= entry.bytes;
}

absl::Status EntryTable::Pin(const EntryKey& key, TimePoint until) {
  const EntryIdx idx = entries_.Find(key);
  if (idx == kNoEntry || entries_[idx].state != Entry::State::kSealed) {
    return absl::NotFoundError("pin: no visible entry has this key");
  }
  if (!pins_.Set(idx, until)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("pin: there are ", options_.max_pins, " already (max_pins)"));
  }
  entries_[idx].is_pinned = true;
  return absl::OkStatus();
}

absl::Status EntryTable::Unpin(const EntryKey& key) {
  const EntryIdx idx = entries_.Find(key);
  if (idx == kNoEntry || !pins_.Erase(idx)) {
    return absl::NotFoundError("unpin: no pinned entry has this key");
  }
  entries_[idx].is_pinned = false;
  if (!IsBlocked(idx)) order_->Unblock(idx);
  return absl::OkStatus();
}

void EntryTable::ExpirePins(TimePoint now) {
  while (const std::optional<EntryIdx> idx = pins_.PopExpired(now)) {
    entries_[*idx].is_pinned = false;
    if (!IsBlocked(*idx)) order_->Unblock(*idx);
  }
}

absl::Status EntryTable::Invalidate(const EntryKey& key, Changes* changes) {
  const EntryIdx idx = entries_.Find(key);
  if (idx == kNoEntry || entries_[idx].state != Entry::State::kSealed) {
    return absl::NotFoundError("invalidate: no visible entry has this key");
  }
  Drop(idx, changes);
  Settle(idx, changes);
  return absl::OkStatus();
}

bool EntryTable::IsBlocked(EntryIdx idx) const {
  const Entry& entry = entries_[idx];
  return entry.num_leases > 0 || entry.num_children > 0 || entry.is_pinned;
}

EntryEvent EntryTable::EventOf(EntryEvent::Kind kind, const Entry& entry) {
  return {.kind = kind, .key = entry.key, .depth = entry.depth};
}

void EntryTable::AnnounceLoss(const Entry& entry, Changes* changes) {
  if (entry.announced) changes->events.push_back(EventOf(EntryEvent::Kind::kEvicted, entry));
}

// No key leads to the entry any more; call Settle next.
void EntryTable::Drop(EntryIdx idx, Changes* changes) {
  Entry& entry = entries_[idx];
  if (entry.state == Entry::State::kSealed) {
    order_->Erase(idx);
    --num_sealed_;
    AnnounceLoss(entry, changes);
    if (entry.is_pinned) pins_.Erase(idx);
    entry.is_pinned = false;
  } else {
    changes->abandoned.push_back(entry.key);
  }
  entries_.Drop(idx);
  ++num_dropped_;
}

// One of the entry's holds is gone. If that was the last, a visible entry may be evicted from now
// on, and any other is freed; which may have been the last hold of its parent. Each turn of the
// loop frees an entry, so it is paid by its Create.
void EntryTable::Settle(EntryIdx idx, Changes* changes) {
  while (idx != kNoEntry && !IsBlocked(idx)) {
    switch (entries_[idx].state) {
      case Entry::State::kSealed:
        order_->Unblock(idx);
        return;
      case Entry::State::kCreated:
        Drop(idx, changes);
        break;
      case Entry::State::kDropped:
        break;
    }
    --num_dropped_;
    idx = Remove(idx, changes);
  }
}

// Frees an entry; returns its parent, which has a child less.
EntryIdx EntryTable::Remove(EntryIdx idx, Changes* changes) {
  const Entry& entry = entries_[idx];
  const EntryIdx parent = entry.parent;
  for (uint32_t i = entry.first_shard; i != kNoShard; i = entries_.shard(i).next) {
    const Shard& shard = entries_.shard(i);
    if (shard.offset != Shard::kUnplaced) changes->freed.push_back({i, shard.offset, shard.bytes});
  }
  tenants_.Charge(entry.tenant, -entry.bytes);
  entries_.Remove(idx);
  return parent;
}

EntryTableGauges EntryTable::gauges() const {
  return {.bytes = tenants_.bytes(),
          .leased_bytes = leased_bytes_,
          .num_entries = entries_.num_entries(),
          .num_created = entries_.num_entries() - num_sealed_ - num_dropped_,
          .num_sealed = num_sealed_,
          .num_dropped = num_dropped_,
          .num_leased = num_leased_,
          .num_shards = entries_.num_shards(),
          .num_sessions = leases_.num_sessions(),
          .num_leases = leases_.num_leases(),
          .num_pins = pins_.size(),
          .num_tenants = tenants_.size(),
          .num_evicted = num_evicted_,
          .order = order_->gauges()};
}

}  // namespace skv::kvstore
