#include "kvstore/tiering/tier_desk.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "common/log.h"
#include "common/status.h"

namespace skv::kvstore {

TierDesk::TierDesk(const TierDeskOptions& options, BlockStore* store, std::span<std::byte> arena,
                   std::vector<TierInbox*> inboxes)
    : options_(options),
      store_(store),
      arena_(arena),
      inboxes_(std::move(inboxes)),
      session_(store->OpenSession().value()),
      sought_(options.limits) {}

void TierDesk::SeekChain(const Asker& asker, std::optional<PrefixKey> parent,
                         absl::Span<const EntryKey> keys, TimePoint now) {
  const auto inbox = std::ranges::find_if(
      inboxes_, [&](const TierInbox* i) { return i->IsUsable(now, options_.max_call); });
  if (inbox == inboxes_.end() || sought_.IsAbsent(keys[0], now)) return;
  // Twice in one list is a client's affair, and sought once.
  absl::flat_hash_set<EntryKey, EntryKeyHash> seen;
  const auto end = std::ranges::find_if(
      keys, [&](const EntryKey& key) { return sought_.IsSought(key) || !seen.insert(key).second; });
  keys = keys.first(static_cast<size_t>(end - keys.begin()));
  if (keys.empty()) return;
  ++totals_.num_seeks;
  const SeekId id = sought_.Begin(keys, now);
  const bool is_taken =
      id != SeekId::kNone && (*inbox)->PushSeek({.id = id,
                                                 .tenant = asker.tenant,
                                                 .world_size = asker.world_size,
                                                 .parent = parent,
                                                 .keys = {keys.begin(), keys.end()},
                                                 .deadline = now + options_.limits.seek_time});
  if (is_taken) return;
  ++totals_.num_refused_seeks;
  sought_.Withdraw(id);
}

void TierDesk::OnSealed(const EntryKey& key) {
  sought_.Found(key);
  if (copied_.erase(key) > 0) {
    ++totals_.num_found_entries;
    return;
  }
  for (TierInbox* inbox : inboxes_) inbox->PushWrite(key);
}

std::vector<EntryKey> TierDesk::TakeEnded() {
  std::vector<EntryKey> ended = std::exchange(ended_, {});
  std::erase_if(ended, [this](const EntryKey& key) { return IsComing(key); });
  return ended;
}

void TierDesk::Expire(TimePoint now) {
  std::vector<SeekId> seeks;
  sought_.Expire(now, &seeks, &ended_);
  for (const SeekId id : seeks) {
    ++totals_.num_expired_seeks;
    Finish(id);
    if (options_.on_seek_end) options_.on_seek_end(options_.limits.seek_time);
  }
}

void TierDesk::Finish(SeekId id) {
  const auto tip = tips_.find(id);
  if (tip == tips_.end()) return;
  Release({tip->second});
  tips_.erase(tip);
}

std::vector<HeldEntry> TierDesk::Hold(absl::Span<const EntryKey> keys, size_t* num_refused) {
  std::vector<HeldEntry> held;
  if (num_refused != nullptr) *num_refused = 0;
  for (const EntryKey& key : keys) {
    const absl::StatusOr<LeaseId> lease = store_->Hold(session_, key, &blocks_);
    if (num_refused != nullptr && absl::IsResourceExhausted(lease.status())) ++*num_refused;
    if (!lease.ok()) continue;  // gone, or no lease is left
    held.push_back({.key = key, .lease = *lease, .blocks = BytesOfBlocks()});
  }
  return held;
}

std::vector<std::span<const std::byte>> TierDesk::BytesOfBlocks() const {
  std::vector<std::span<const std::byte>> bytes;
  for (const ShardBytes& block : blocks_) {
    bytes.push_back(
        BytesOf(static_cast<uint64_t>(block.offset), static_cast<uint64_t>(block.bytes)));
  }
  return bytes;
}

absl::StatusOr<HeldChain> TierDesk::HoldChain(uint32_t rank, absl::Span<const EntryKey> keys) {
  SKV_ASSIGN_OR_RETURN(const Hit hit, store_->Get(session_, rank, keys, &blocks_));
  return HeldChain{.lease = hit.lease, .blocks = BytesOfBlocks()};
}

std::optional<EntryIdx> TierDesk::HoldNext(EntryIdx begin, uint32_t max_places,
                                           std::vector<HeldEntry>* held, size_t* num_refused) {
  std::vector<EntryInfo> infos;
  const std::optional<EntryIdx> next = store_->ListEntries(begin, max_places, &infos);
  std::vector<EntryKey> keys;
  for (const EntryInfo& info : infos) {
    if (info.state == EntryInfo::State::kSealed) keys.push_back(info.key);
  }
  *held = Hold(keys, num_refused);
  return next;
}

void TierDesk::Release(absl::Span<const LeaseId> leases) {
  // A lease whose block could not be sealed has ended already.
  store_->Release(session_, leases).IgnoreError();
}

void TierDesk::Invalidate(absl::Span<const EntryKey> keys) {
  for (const EntryKey& key : keys) store_->Invalidate(key).IgnoreError();  // gone is gone
}

std::vector<PlacedEntry> TierDesk::Place(SeekId id, absl::Span<const NewEntry> entries,
                                         TimePoint now) {
  std::vector<PlacedEntry> placed;
  if (!sought_.IsActive(id)) return placed;
  for (const NewEntry& entry : entries) {
    std::optional<PlacedEntry> one = PlaceOne(entry, now);
    if (!one.has_value()) break;
    placed.push_back(*std::move(one));
  }
  return placed;
}

std::optional<PlacedEntry> TierDesk::PlaceOne(const NewEntry& entry, TimePoint now) {
  PlacedEntry placed;
  for (const NewBlock& block : entry.blocks) {
    const absl::StatusOr<CreatedBlock> created = store_->Create(session_, {block}, now)[0];
    if (created.ok() && created->outcome == Created::Outcome::kCreated) {
      copied_.insert(block.key);
      placed.leases.push_back(created->lease);
      placed.places.push_back(BytesOf(created->offset, created->num_bytes));
      continue;
    }
    if (created.ok() && created->outcome == Created::Outcome::kExists) return PlacedEntry();
    Release(placed.leases);
    return std::nullopt;
  }
  return placed;
}

bool TierDesk::Seal(SeekId id, absl::Span<const PlacedEntry> entries) {
  bool are_sealed = true;
  std::vector<LeaseId> leases;
  for (size_t i = 0; i < entries.size(); ++i) {
    const bool is_tip = i + 1 == entries.size();
    for (const auto& sealed : store_->Seal(session_, entries[i].leases, is_tip)) {
      are_sealed &= sealed.ok();
    }
    leases.insert(leases.end(), entries[i].leases.begin(), entries[i].leases.end());
  }
  if (leases.empty()) return are_sealed;
  Finish(id);
  if (sought_.IsActive(id) && are_sealed) {
    tips_.emplace(id, leases.back());
    leases.pop_back();
  }
  Release(leases);
  return are_sealed;
}

void TierDesk::EndSeek(SeekId id, bool has_room, TimePoint now) {
  if (!sought_.IsActive(id)) return;
  if (!has_room) ++totals_.num_unplaced_seeks;
  if (options_.on_seek_end) options_.on_seek_end(now - sought_.BeginOf(id));
  if (has_room) {
    sought_.End(id, now, &ended_);
  } else {
    sought_.EndUnplaced(id, now, &ended_);
  }
  Finish(id);
}

TierDeskGauges TierDesk::gauges() const {
  TierDeskGauges gauges = totals_;
  gauges.num_sought_chains = sought_.num_chains();
  gauges.num_sought_keys = sought_.num_keys();
  gauges.num_absent_keys = sought_.num_absent();
  return gauges;
}

}  // namespace skv::kvstore
