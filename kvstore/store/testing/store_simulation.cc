#include "kvstore/store/testing/store_simulation.h"

#include <algorithm>
#include <chrono>

#include "common/testing/status_matchers.h"

namespace skv::kvstore {

using absl::StatusCode;
using testing::_;

void StoreSimulation::Counts::Add(const Counts& other) {
  num_sealed += other.num_sealed;
  num_bad_headers += other.num_bad_headers;
  num_aborted += other.num_aborted;
  num_no_hole += other.num_no_hole;
  num_hits += other.num_hits;
  num_told += other.num_told;
  num_widening += other.num_widening;
}

BlockStoreOptions StoreSimulation::Options() {
  BlockStoreOptions options;
  options.index.capacity_bytes = kArenaBytes;
  options.index.max_entries = 30;
  options.index.max_shards = 40;
  options.index.max_pins = 4;
  options.index.max_tenants = 2;
  options.index.leases = {.max_sessions = 6, .max_leases = 60, .max_leases_per_session = 20};
  options.index.watch_stride = 1;
  options.max_evicted_per_byte = 4;
  return options;
}

StoreSimulation::StoreSimulation(std::unique_ptr<EvictionOrder> order, int seed)
    : store_(Options(), std::move(order), arena_) {
  random_.seed(seed);
  EXPECT_OK(store_.tenants().Add(kArenaBytes / 4));
  // Chains branch; a chain is of one tenant and one world size.
  for (int i = 0; i < kNumSentences; ++i) {
    parent_of_.push_back(i < 12 || Chance(30) ? -1 : i - 4 * Uniform(1, std::min(2, i / 4)));
    const TestSentence* parent = parent_of_[i] < 0 ? nullptr : &sentences_[parent_of_[i]];
    const uint64_t payload_bytes = Chance(20) ? Uniform(600, 1800) : Uniform(1, 400);
    sentences_.push_back(MakeSentence(i + 1, parent, payload_bytes, Uniform(1, 8)));
    sentences_[i].block.tenant = i % 4 == 1 ? 1 : 0;
    sentences_[i].block.world_size = i % 4 == 3 ? 2 : 1;
  }
}

void StoreSimulation::Run(int num_steps) {
  for (int i = 0; i < num_steps && !testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE(testing::Message() << "step " << i);
    now_ += std::chrono::seconds(1);
    Step();
    Check();
  }
  counts_.num_widening = static_cast<int64_t>(store_.gauges().num_widening);
  CheckEmptyInTheEnd();
}

void StoreSimulation::Step() {
  const int dice = Uniform(1, 100);
  if (dice <= 4) return OpenOrClose();
  if (sessions_.empty()) return;
  if (dice <= 45) return Create();
  if (dice <= 75) return SealOrRelease();
  if (dice <= 88) return Get();
  if (dice <= 93) return Forge();
  if (dice <= 98) return PinOrInvalidate();
  EXPECT_GE(store_.Evict(Uniform(0, 2000), now_), 0);
}

NewBlock StoreSimulation::BlockOf(int sentence, uint32_t rank) const {
  NewBlock block = sentences_[sentence].block;
  block.rank = rank;
  return block;
}

int StoreSimulation::NumberOf(const EntryKey& key) const {
  for (int i = 0; i < kNumSentences; ++i) {
    if (sentences_[i].block.key == key) return i;
  }
  ADD_FAILURE() << "a key that nobody created";
  return 0;
}

void StoreSimulation::OpenOrClose() {
  if (sessions_.size() > 1 && Chance(40)) return Close(random_() % sessions_.size());
  const auto session = store_.OpenSession();
  EXPECT_EQ(session.ok(), sessions_.size() < Options().index.leases.max_sessions);
  if (session.ok()) sessions_.push_back(*session);
}

void StoreSimulation::Close(size_t i) {
  const SessionId session = sessions_[i];
  sessions_.erase(sessions_.begin() + static_cast<int64_t>(i));
  EXPECT_OK(store_.CloseSession(session));
  EXPECT_THAT(store_.CloseSession(session), StatusIs(StatusCode::kInvalidArgument, _));
  std::erase_if(leases_, [&](const ModelLease& lease) {
    if (lease.session != session) return false;
    ended_.push_back(lease.handle);
    return true;
  });
}

void StoreSimulation::Create() {
  const SessionId session = AnySession();
  const int sentence = Uniform(0, kNumSentences - 1);
  const auto rank = static_cast<uint32_t>(
      Uniform(0, static_cast<int>(sentences_[sentence].block.world_size) - 1));
  const auto created = store_.Create(session, {BlockOf(sentence, rank)}, now_)[0];
  TakeNews();  // of an older entry of this key, perhaps
  if (created.ok()) return Created(session, sentence, rank, *created);
  if (created.status().code() == StatusCode::kNotFound) {
    EXPECT_GE(parent_of_[sentence], 0);
    EXPECT_FALSE(visible_.contains(parent_of_[sentence]));
    return;
  }
  EXPECT_THAT(created, StatusIs(StatusCode::kResourceExhausted, _));
  const std::string message(created.status().message());
  counts_.num_no_hole += message.find("no hole") != std::string::npos ? 1 : 0;
}

void StoreSimulation::Created(SessionId session, int sentence, uint32_t rank,
                              const CreatedBlock& created) {
  if (created.outcome == Created::Outcome::kInProgress) awaited_.insert(sentence);
  if (created.outcome != Created::Outcome::kCreated) return;
  const Held held{sentence, rank, created.offset, created.num_bytes};
  EXPECT_EQ(held.offset % kBlockAlignment, 0u);
  ASSERT_LE(held.offset + held.num_bytes, kArenaBytes);
  WriteBlock(HeaderOf([&] {
               TestSentence written = sentences_[sentence];
               written.block.rank = rank;
               return written;
             }()),
             sentences_[sentence].fill, PlaceOf(held));
  leases_.push_back({session, created.lease, {held}, /*writes=*/true});
}

void StoreSimulation::SealOrRelease() {
  if (leases_.empty()) return;
  const size_t i = random_() % leases_.size();
  ModelLease& lease = leases_[i];
  if (lease.writes && Chance(85)) return Seal(i);
  if (!lease.writes && Chance(50)) return;
  EXPECT_OK(store_.Release(lease.session, {lease.handle}));
  ended_.push_back(lease.handle);
  leases_.erase(leases_.begin() + static_cast<int64_t>(i));
}

// A header that is well-formed but another's, or none at all.
BlockHeader StoreSimulation::WrongHeader(const Held& held) {
  TestSentence written = sentences_[held.sentence];
  written.block.rank = held.rank;
  switch (Uniform(0, 2)) {
    case 0:
      written.block.payload_bytes += 1;
      break;
    case 1:
      written.block.world_size += 1;
      break;
    default:
      written.block.key.layout.bytes[3] ^= 1;
      break;
  }
  return HeaderOf(written);
}

void StoreSimulation::Seal(size_t i) {
  ModelLease& lease = leases_[i];
  const Held held = lease.blocks[0];
  const bool wrong = Chance(15);
  if (wrong) {
    EXPECT_OK(EncodeBlockHeader(WrongHeader(held), PlaceOf(held)));
    if (Chance(30)) PlaceOf(held)[Uniform(0, 100)] ^= std::byte{4};
  }
  const auto visible = store_.Seal(lease.session, {lease.handle}, Chance(50))[0];
  if (lease.abandoned) {
    EXPECT_THAT(visible, StatusIs(StatusCode::kAborted, _));
    ++counts_.num_aborted;
    if (!wrong) return;
    EXPECT_OK(store_.Release(lease.session, {lease.handle}));
  } else if (!wrong) {
    EXPECT_OK(visible);
    lease.writes = false;
    ++counts_.num_sealed;
    return;
  } else {
    EXPECT_THAT(visible, StatusIs(StatusCode::kInvalidArgument, testing::HasSubstr("block:")));
    ++counts_.num_bad_headers;
  }
  ended_.push_back(lease.handle);
  leases_.erase(leases_.begin() + static_cast<int64_t>(i));
}

void StoreSimulation::Get() {
  std::vector<int> chain;
  for (int i = Uniform(0, kNumSentences - 1); i >= 0; i = parent_of_[i]) {
    chain.insert(chain.begin(), i);
  }
  std::vector<EntryKey> keys;
  for (const int i : chain) keys.push_back(sentences_[i].block.key);
  const uint32_t rank = sentences_[chain[0]].block.world_size - 1;
  const SessionId session = AnySession();
  std::vector<ShardBytes> blocks;
  const auto hit = store_.Get(session, rank, keys, &blocks);
  if (!hit.ok()) {
    EXPECT_THAT(hit, StatusIs(StatusCode::kResourceExhausted, _));
    return;
  }
  ASSERT_EQ(blocks.size(), hit->num_entries);
  ModelLease lease{session, hit->lease, {}};
  for (size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_TRUE(visible_.contains(chain[i]));
    lease.blocks.push_back({chain[i], rank, static_cast<uint64_t>(blocks[i].offset),
                            static_cast<uint64_t>(blocks[i].bytes)});
  }
  counts_.num_hits += hit->num_entries;
  if (hit->num_entries > 0) leases_.push_back(lease);
}

void StoreSimulation::Forge() {
  const SessionId session = AnySession();
  LeaseId lease{static_cast<uint32_t>(Uniform(0, 60)), static_cast<uint32_t>(Uniform(0, 300))};
  if (!ended_.empty() && Chance(60)) lease = ended_[random_() % ended_.size()];
  if (!leases_.empty() && Chance(20)) lease = leases_[random_() % leases_.size()].handle;
  for (const ModelLease& other : leases_) {
    if (other.handle == lease && other.session == session) return;
  }
  EXPECT_THAT(store_.Release(session, {lease}), StatusIs(StatusCode::kInvalidArgument, _));
  EXPECT_THAT(store_.Seal(session, {lease}, true)[0], StatusIs(StatusCode::kInvalidArgument, _));
}

void StoreSimulation::PinOrInvalidate() {
  const int sentence = Uniform(0, kNumSentences - 1);
  const EntryKey& key = sentences_[sentence].block.key;
  if (Chance(30)) {
    EXPECT_EQ(store_.Invalidate(key).ok(), visible_.contains(sentence));
  } else if (Chance(30)) {
    store_.Unpin(key).IgnoreError();
  } else {
    const absl::Status pinned = store_.Pin(key, now_ + std::chrono::seconds(Uniform(1, 60)));
    EXPECT_TRUE(pinned.ok() || pinned.code() == StatusCode::kResourceExhausted ||
                !visible_.contains(sentence));
  }
}

void StoreSimulation::TakeNews() {
  const StoreNews news = store_.TakeNews();
  for (const EntryEvent& event : news.events) {
    const int sentence = NumberOf(event.key);
    if (event.kind == EntryEvent::Kind::kSealed) {
      EXPECT_TRUE(visible_.insert(sentence).second);
    } else {
      EXPECT_EQ(visible_.erase(sentence), 1u);
    }
  }
  for (const EntryKey& key : news.sealed) {
    counts_.num_told += static_cast<int64_t>(awaited_.erase(NumberOf(key)));
  }
  for (const EntryKey& key : news.abandoned) {
    const int sentence = NumberOf(key);
    counts_.num_told += static_cast<int64_t>(awaited_.erase(sentence));
    for (ModelLease& lease : leases_) {
      lease.abandoned |= lease.blocks[0].sentence == sentence;
    }
  }
}

void StoreSimulation::Check() {
  TakeNews();
  CheckHeld();
  CheckGauges();
}

// Blocks that two leases hold are the same or apart, and hold what was written.
void StoreSimulation::CheckHeld() {
  std::map<uint64_t, Held> by_offset;
  for (const ModelLease& lease : leases_) {
    for (const Held& held : lease.blocks) {
      const auto [it, is_new] = by_offset.emplace(held.offset, held);
      EXPECT_EQ(it->second.sentence, held.sentence);
      EXPECT_EQ(it->second.rank, held.rank);
      EXPECT_EQ(it->second.num_bytes, held.num_bytes);
      if (!is_new) continue;
      TestSentence written = sentences_[held.sentence];
      written.block.rank = held.rank;
      const auto parsed = ParseBlock(PlaceOf(held), "held");
      ASSERT_OK(parsed);
      EXPECT_EQ(parsed->header, HeaderOf(written));
    }
  }
  uint64_t end = 0, num_bytes = 0;
  for (const auto& [offset, held] : by_offset) {
    EXPECT_GE(offset, end) << "blocks overlap";
    end = offset + held.num_bytes;
    num_bytes += held.num_bytes;
  }
  EXPECT_LE(num_bytes, store_.gauges().live_bytes);
}

void StoreSimulation::CheckGauges() {
  const BlockStoreGauges gauges = store_.gauges();
  EXPECT_EQ(gauges.live_bytes, static_cast<uint64_t>(gauges.index.bytes));
  EXPECT_EQ(gauges.num_blocks, gauges.index.num_shards);
  EXPECT_LE(gauges.live_bytes, gauges.committed_bytes);
  EXPECT_LE(gauges.committed_bytes, gauges.arena_bytes);
  EXPECT_EQ(gauges.index.num_sealed, visible_.size());
  EXPECT_EQ(gauges.index.num_leases, leases_.size());
  EXPECT_EQ(gauges.index.num_sessions, sessions_.size());
  // Whoever waits, waits for somebody who still holds something.
  EXPECT_LE(awaited_.size(), gauges.index.num_created);
}

void StoreSimulation::CheckEmptyInTheEnd() {
  while (!sessions_.empty()) Close(0);
  now_ += std::chrono::hours(1);
  store_.Evict(INT64_MAX, now_);
  Check();
  const BlockStoreGauges gauges = store_.gauges();
  EXPECT_EQ(gauges.live_bytes, 0u);
  EXPECT_EQ(gauges.num_blocks, 0u);
  EXPECT_EQ(gauges.index.num_entries, 0u);
  EXPECT_EQ(gauges.index.leased_bytes, 0);
  EXPECT_TRUE(awaited_.empty());
}

}  // namespace skv::kvstore
