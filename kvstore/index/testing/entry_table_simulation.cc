#include "kvstore/index/testing/entry_table_simulation.h"

#include <chrono>

#include "common/testing/status_matchers.h"

namespace skv::kvstore {

void Simulation::Step() {
  const int dice = Uniform(1, 100);
  if (dice <= 4) return OpenOrClose();
  if (sessions_.empty()) return;
  if (dice <= 40) return Create();
  if (dice <= 70) return SealOrRelease();
  if (dice <= 85) return Lookup();
  if (dice <= 90) return Forge();
  if (dice <= 94) return PinOrInvalidate();
  if (dice <= 97) return EvictNamed();
  EXPECT_GE(table_.Evict(Uniform(0, 300), now_, &changes_), 0);
}

void Simulation::OpenOrClose() {
  if (sessions_.size() > 1 && Chance(25)) {
    const size_t i = random_() % sessions_.size();
    const SessionId session = sessions_[i];
    EXPECT_OK(table_.CloseSession(session, &changes_));
    sessions_.erase(sessions_.begin() + i);
    for (size_t lease = leases_.size(); lease > 0; --lease) {
      if (leases_[lease - 1].session == session) EndLease(lease - 1);
    }
    EXPECT_THAT(table_.CloseSession(session, &changes_),
                StatusIs(absl::StatusCode::kInvalidArgument, testing::_));
    return;
  }
  const auto session = table_.OpenSession();
  EXPECT_EQ(session.ok(), sessions_.size() < Options().leases.max_sessions);
  if (session.ok()) sessions_.push_back(*session);
}

void Simulation::Create() {
  const SessionId session = sessions_[random_() % sessions_.size()];
  const auto key = static_cast<uint32_t>(Uniform(0, kNumKeys - 1));
  NewShard shard{.key = KeyOfNumber(key), .tenant = TenantOf(key)};
  shard.world_size = WorldSizeOf(key);
  shard.rank = static_cast<uint32_t>(Uniform(0, static_cast<int>(shard.world_size) - 1));
  shard.bytes = Uniform(10, 120);
  int parent = kNone;
  if (parent_of_[key] != kNone) {
    parent = Find(parent_of_[key]);
    shard.parent = KeyOfNumber(parent_of_[key]).prefix;
  }
  const auto created = table_.Create(session, shard, now_, &changes_);
  if (parent_of_[key] != kNone && parent == kNone) {
    EXPECT_THAT(created, StatusIs(absl::StatusCode::kNotFound, testing::_));
    return;
  }
  int id = Find(key);
  if (id != kNone && entries_[id].parent != parent) {
    EXPECT_EQ(entries_[entries_[id].parent].state, Entry::State::kDropped);
    Drop(id);
    id = kNone;
  }
  if (id != kNone && entries_[id].state == Entry::State::kSealed) {
    ASSERT_OK(created);
    EXPECT_EQ(created->outcome, Created::Outcome::kExists);
    return;
  }
  if (id != kNone && entries_[id].shards.contains(shard.rank)) {
    ASSERT_OK(created);
    EXPECT_EQ(created->outcome, Created::Outcome::kInProgress);
    bool writes = !created->writer.has_value();
    for (const ModelLease& lease : leases_) {
      writes |= lease.entry == id && lease.rank != kNone && lease.session == created->writer;
    }
    EXPECT_TRUE(writes);
    return;
  }
  if (!created.ok()) {
    EXPECT_THAT(created, StatusIs(absl::StatusCode::kResourceExhausted, testing::_));
    RemoveEvicted();
    RemoveUnheld();
    CheckRefusedForRoom(id == kNone ? nullptr : &entries_[id], parent, key, session);
    return;
  }
  EXPECT_EQ(created->outcome, Created::Outcome::kCreated);
  if (id == kNone) {
    id = next_id_++;
    entries_[id] = {.key = key, .parent = parent};
    by_key_[key] = id;
  }
  entries_[id].shards[shard.rank] = {.bytes = shard.bytes};
  entries_[id].handle = created->entry;
  leases_.push_back({session, created->lease, id, static_cast<int>(shard.rank)});
  if (Chance(10)) Withdraw(id, shard.rank);
}

// As if the last Create had been refused: the entry, if it is new, is gone without a trace.
void Simulation::Withdraw(int id, uint32_t rank) {
  const ModelLease lease = leases_.back();
  EXPECT_OK(table_.Withdraw(lease.session, lease.handle, &changes_));
  EXPECT_THAT(table_.Withdraw(lease.session, lease.handle, &changes_),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::_));
  leases_.pop_back();
  ended_.push_back(lease.handle);
  entries_[id].shards.erase(rank);
}

void Simulation::EvictNamed() {
  if (entries_.empty()) return;
  const auto it = std::next(entries_.begin(), Uniform(0, static_cast<int>(entries_.size()) - 1));
  const auto& [id, entry] = *it;
  table_.ExpirePins(now_);
  const int64_t before = table_.gauges().bytes;
  const bool evicted = table_.EvictEntry(entry.handle, &changes_);
  EXPECT_EQ(evicted, entry.state == Entry::State::kSealed && !IsLeased(id) && !HasChildren(id) &&
                         !(entry.pinned && entry.pinned_until > now_));
  EXPECT_EQ(evicted, table_.gauges().bytes < before);
  num_evicted_by_name_ += evicted ? 1 : 0;
}

// Either the session has too many leases, or nothing of the tenant, at its quota, or nothing at all
// could go.
void Simulation::CheckRefusedForRoom(const ModelEntry* entry, int parent, uint32_t key,
                                     SessionId session) {
  if (NumLeasesOf(session) >= Options().leases.max_leases_per_session) return;
  ++num_refused_;
  const auto could_go = [&](bool own_only) {
    for (const auto& [id, other] : entries_) {
      if (id == parent || &other == entry || (own_only && TenantOf(other.key) != 1)) continue;
      if (other.state == Entry::State::kSealed && !IsLeased(id) && !HasChildren(id) &&
          !(other.pinned && other.pinned_until > now_)) {
        return true;
      }
    }
    return false;
  };
  EXPECT_FALSE(could_go(false) && (TenantOf(key) != 1 || could_go(true))) << "key " << key;
}

void Simulation::SealOrRelease() {
  if (leases_.empty()) return;
  const size_t i = random_() % leases_.size();
  ModelLease& lease = leases_[i];
  if (lease.rank == kNone && Chance(60)) return;
  if (lease.rank == kNone || Chance(10)) {
    EXPECT_OK(table_.Release(lease.session, lease.handle, &changes_));
    EndLease(i);
    return;
  }
  ModelEntry& entry = entries_[lease.entry];
  ModelShard& shard = entry.shards[lease.rank];
  if (shard.offset == kNone && Chance(90)) {
    shard.offset = next_offset_++;
    EXPECT_OK(table_.Place(lease.session, lease.handle, shard.offset));
  }
  const auto visible = table_.Seal(lease.session, lease.handle, false, &changes_);
  if (entry.state == Entry::State::kDropped) {
    EXPECT_THAT(visible, StatusIs(absl::StatusCode::kAborted, testing::_));
  } else if (shard.offset == kNone) {
    EXPECT_THAT(visible, StatusIs(absl::StatusCode::kFailedPrecondition, testing::_));
  } else {
    ASSERT_OK(visible);
    shard.sealed = true;
    lease.rank = kNone;
    const auto num_sealed = std::count_if(entry.shards.begin(), entry.shards.end(),
                                          [](const auto& item) { return item.second.sealed; });
    EXPECT_EQ(*visible, num_sealed == WorldSizeOf(entry.key));
    if (*visible) entry.state = Entry::State::kSealed;
  }
}

void Simulation::Lookup() {
  const SessionId session = sessions_[random_() % sessions_.size()];
  std::vector<int> numbers;
  for (int key = Uniform(0, kNumKeys - 1); key != kNone; key = parent_of_[key]) {
    numbers.insert(numbers.begin(), key);
  }
  std::vector<EntryKey> keys;
  for (const int number : numbers) keys.push_back(KeyOfNumber(number));
  const auto rank = static_cast<uint32_t>(WorldSizeOf(numbers[0]) - 1);
  std::vector<ShardBytes> blocks;
  const auto hit = table_.Lookup(session, rank, keys, &blocks);
  if (NumLeasesOf(session) >= Options().leases.max_leases_per_session ||
      leases_.size() >= Options().leases.max_leases) {
    EXPECT_THAT(hit, StatusIs(absl::StatusCode::kResourceExhausted, testing::_));
    return;
  }
  ASSERT_OK(hit);
  std::vector<ShardBytes> expected;
  int tip = kNone;
  for (const int number : numbers) {
    const int id = Find(number);
    if (id == kNone || entries_[id].state != Entry::State::kSealed) break;
    if (tip != kNone && entries_[id].parent != tip) break;
    expected.push_back({entries_[id].shards[rank].offset, entries_[id].shards[rank].bytes});
    tip = id;
  }
  EXPECT_EQ(blocks, expected);
  EXPECT_EQ(hit->num_entries, expected.size());
  num_hits_ += hit->num_entries;
  if (tip != kNone) leases_.push_back({session, hit->lease, tip, kNone});
}

void Simulation::Forge() {
  const SessionId session = sessions_[random_() % sessions_.size()];
  LeaseId lease{static_cast<uint32_t>(Uniform(0, 60)), static_cast<uint32_t>(Uniform(0, 300))};
  if (!ended_.empty() && Chance(60)) lease = ended_[random_() % ended_.size()];
  for (const ModelLease& other : leases_) {
    if (other.handle == lease && other.session == session) return;
  }
  const auto refuses = StatusIs(absl::StatusCode::kInvalidArgument, testing::_);
  EXPECT_THAT(table_.Release(session, lease, &changes_), refuses);
  EXPECT_THAT(table_.Seal(session, lease, true, &changes_), refuses);
  EXPECT_THAT(table_.Place(session, lease, 0), refuses);
}

void Simulation::PinOrInvalidate() {
  const auto key = static_cast<uint32_t>(Uniform(0, kNumKeys - 1));
  const int id = Find(key);
  const bool visible = id != kNone && entries_[id].state == Entry::State::kSealed;
  table_.ExpirePins(now_);
  for (auto& [unused, entry] : entries_) entry.pinned &= entry.pinned_until > now_;
  if (Chance(25)) {
    EXPECT_EQ(table_.Invalidate(KeyOfNumber(key), &changes_).ok(), visible);
    if (visible) Drop(id);
  } else if (Chance(30)) {
    EXPECT_EQ(table_.Unpin(KeyOfNumber(key)).ok(), visible && entries_[id].pinned);
    if (visible) entries_[id].pinned = false;
  } else {
    const auto num_others = std::count_if(entries_.begin(), entries_.end(), [&](const auto& item) {
      return item.second.pinned && item.first != id;
    });
    const TimePoint until = now_ + std::chrono::seconds(Uniform(1, 60));
    const bool pins = visible && num_others < Options().max_pins;
    EXPECT_EQ(table_.Pin(KeyOfNumber(key), until).ok(), pins);
    if (!pins) return;
    entries_[id].pinned = true;
    entries_[id].pinned_until = until;
  }
}

void Simulation::Drop(int id) {
  ModelEntry& entry = entries_[id];
  if (entry.state == Entry::State::kDropped) return;
  if (entry.state == Entry::State::kCreated) ++model_abandoned_;
  by_key_.erase(entry.key);
  entry.state = Entry::State::kDropped;
  entry.pinned = false;
  ++num_dropped_;
}

void Simulation::EndLease(size_t i) {
  const ModelLease lease = leases_[i];
  leases_.erase(leases_.begin() + i);
  ended_.push_back(lease.handle);
  if (lease.rank != kNone) Drop(lease.entry);
}

void Simulation::RemoveEntry(int id) {
  const ModelEntry& entry = entries_[id];
  for (const auto& [rank, shard] : entry.shards) {
    if (shard.offset == kNone) continue;
    EXPECT_TRUE(model_freed_.insert(shard.offset).second);
  }
  if (entry.state != Entry::State::kDropped) by_key_.erase(entry.key);
  entries_.erase(id);
}

// Takes out the visible entries whose memory was freed, after a look at whether they might go.
void Simulation::RemoveEvicted() {
  std::set<int64_t> freed;
  for (const FreedShard& shard : changes_.freed) freed.insert(shard.offset);
  std::vector<int> evicted;
  for (const auto& [id, entry] : entries_) {
    if (entry.state != Entry::State::kSealed) continue;
    if (!freed.contains(entry.shards.begin()->second.offset)) continue;
    EXPECT_FALSE(IsLeased(id)) << "leased entry " << id << " was evicted";
    EXPECT_FALSE(entry.pinned && entry.pinned_until > now_) << "pinned entry " << id;
    evicted.push_back(id);
  }
  for (const int id : evicted) RemoveEntry(id);
  num_evicted_ += static_cast<int64_t>(evicted.size());
}

void Simulation::RemoveUnheld() {
  for (bool again = true; again;) {
    again = false;
    for (const auto& [id, entry] : entries_) {
      if (entry.state == Entry::State::kSealed || IsLeased(id) || HasChildren(id)) continue;
      Drop(id);
      RemoveEntry(id);
      again = true;
      break;
    }
  }
}

void Simulation::Check() {
  RemoveEvicted();
  RemoveUnheld();
  std::set<int64_t> freed;
  for (const FreedShard& shard : changes_.freed) EXPECT_TRUE(freed.insert(shard.offset).second);
  EXPECT_EQ(freed, model_freed_);
  EXPECT_EQ(changes_.abandoned.size(), static_cast<size_t>(model_abandoned_));
  for (const auto& [id, entry] : entries_) {
    EXPECT_TRUE(entry.parent == kNone || entries_.contains(entry.parent)) << "entry " << id;
  }
  CheckGauges();
  CheckBytes();
  CheckWatch();
}

void Simulation::CheckGauges() const {
  const EntryTableGauges gauges = table_.gauges();
  std::map<Entry::State, uint32_t> num;
  uint32_t num_leased = 0, num_shards = 0;
  int64_t leased_bytes = 0;
  for (const auto& [id, entry] : entries_) {
    ++num[entry.state];
    num_leased += IsLeased(id);
    for (const auto& [rank, shard] : entry.shards) leased_bytes += IsLeased(id) ? shard.bytes : 0;
    num_shards += static_cast<uint32_t>(entry.shards.size());
  }
  EXPECT_EQ(gauges.num_entries, entries_.size());
  EXPECT_EQ(gauges.num_created, num[Entry::State::kCreated]);
  EXPECT_EQ(gauges.num_sealed, num[Entry::State::kSealed]);
  EXPECT_EQ(gauges.num_dropped, num[Entry::State::kDropped]);
  EXPECT_EQ(gauges.order.num_entries, num[Entry::State::kSealed]);
  EXPECT_EQ(gauges.num_leased, num_leased);
  EXPECT_EQ(gauges.leased_bytes, leased_bytes);
  EXPECT_EQ(gauges.num_shards, num_shards);
  EXPECT_EQ(gauges.num_leases, leases_.size());
  EXPECT_EQ(gauges.num_sessions, sessions_.size());
  EXPECT_EQ(gauges.num_evicted, static_cast<uint64_t>(num_evicted_));
}

void Simulation::CheckBytes() const {
  std::map<uint32_t, int64_t> bytes_of;
  int64_t all = 0;
  for (const auto& [id, entry] : entries_) {
    for (const auto& [rank, shard] : entry.shards) {
      bytes_of[TenantOf(entry.key)] += shard.bytes;
      all += shard.bytes;
    }
  }
  EXPECT_EQ(table_.gauges().bytes, all);
  EXPECT_LE(all, Options().capacity_bytes);
  EXPECT_LE(bytes_of[1], kQuota);
}

// A reader of the events, and one of a snapshot, believe in what is visible.
void Simulation::CheckWatch() {
  for (const EntryEvent& event : changes_.events) {
    const std::pair<PrefixKey, uint32_t> name(event.key.prefix, event.depth);
    if (event.kind == EntryEvent::Kind::kSealed) {
      EXPECT_TRUE(watched_.insert(name).second);
    } else {
      EXPECT_EQ(watched_.erase(name), 1u);
    }
  }
  EXPECT_EQ(watched_.size(), table_.gauges().num_sealed);
  std::vector<EntryEvent> listed;
  EXPECT_EQ(table_.ListAnnounced(0, UINT32_MAX, &listed), std::nullopt);
  EXPECT_EQ(listed.size(), watched_.size());
  for (const EntryEvent& event : listed) {
    EXPECT_TRUE(watched_.contains({event.key.prefix, event.depth}));
  }
}

}  // namespace skv::kvstore
