#include "kvstore/index/entry_table.h"

#include <chrono>

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "kvstore/index/s3fifo_order.h"
#include "kvstore/index/testing/entry_table_fixture.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using EntryTableTest = EntryTableFixture;
using Outcome = Created::Outcome;

TEST_F(EntryTableTest, AnEntryIsSeenOnceItIsSealed) {
  const LeaseId lease = Write(writer_, Block(1));
  EXPECT_FALSE(IsThere(1));
  ASSERT_OK_AND_ASSIGN(const bool visible, table_.Seal(writer_, lease, true, &changes_));
  EXPECT_TRUE(visible);
  EXPECT_THAT(changes_.sealed, ElementsAre(KeyOfNumber(1)));
  Lookup(Open(), {1});
  EXPECT_THAT(blocks_, ElementsAre(ShardBytes{1000, 10}));
}

TEST_F(EntryTableTest, AnEntryIsSeenWhenAllRanksHaveSealed) {
  NewShard shard = Block(1);
  shard.world_size = 2;
  Seal(writer_, shard);
  EXPECT_FALSE(IsThere(1));
  shard.rank = 1;
  Seal(Open(), shard);
  EXPECT_TRUE(IsThere(1));
  Lookup(writer_, {1}, /*rank=*/1);
  EXPECT_THAT(blocks_, ElementsAre(ShardBytes{1001, 10}));
  EXPECT_EQ(Lookup(writer_, {1}, /*rank=*/2).num_entries, 0u);
}

TEST_F(EntryTableTest, ASecondWriterLearnsWhoWrites) {
  const LeaseId lease = Write(writer_, Block(1));
  ASSERT_OK_AND_ASSIGN(const Created second, Create(Open(), Block(1)));
  EXPECT_EQ(second.outcome, Outcome::kInProgress);
  EXPECT_EQ(second.writer, writer_);
  EXPECT_OK(table_.Seal(writer_, lease, false, &changes_));
  ASSERT_OK_AND_ASSIGN(const Created third, Create(Open(), Block(1)));
  EXPECT_EQ(third.outcome, Outcome::kExists);
}

TEST_F(EntryTableTest, WhoeverWaitsForADeadWriterIsToldAndMayWrite) {
  const SessionId dying = Open();
  Write(dying, Block(1));
  EXPECT_OK(table_.CloseSession(dying, &changes_));
  EXPECT_THAT(changes_.abandoned, ElementsAre(KeyOfNumber(1)));
  EXPECT_THAT(FreedNumbers(), ElementsAre(1));
  Seal(writer_, Block(1));
  EXPECT_TRUE(IsThere(1));
}

TEST_F(EntryTableTest, ADeadRankTakesTheEntryButNotTheMemoryOfTheOthers) {
  NewShard shard = Block(1);
  shard.world_size = 2;
  const LeaseId sealed = Seal(writer_, shard);
  shard.rank = 1;
  const SessionId dying = Open();
  Write(dying, shard);
  EXPECT_OK(table_.CloseSession(dying, &changes_));
  EXPECT_THAT(changes_.freed, IsEmpty());
  EXPECT_EQ(table_.gauges().num_dropped, 1u);
  Release(writer_, sealed);
  EXPECT_THAT(FreedNumbers(), UnorderedElementsAre(1, 1));
  EXPECT_EQ(table_.gauges().num_entries, 0u);
}

TEST_F(EntryTableTest, AnEntryIsLeasedWithTheShardsOfAllRanksAndWithoutAUse) {
  NewShard shard = Block(1);
  shard.world_size = 2;
  const LeaseId first = Seal(writer_, shard);
  EXPECT_THAT(table_.LeaseEntry(writer_, KeyOfNumber(1), &blocks_),
              StatusIs(StatusCode::kNotFound, HasSubstr("no visible entry")));
  shard.rank = 1;
  Release(writer_, Seal(writer_, shard));
  Release(writer_, first);
  Store(Block(2));
  const absl::StatusOr<LeaseId> lease = table_.LeaseEntry(writer_, KeyOfNumber(1), &blocks_);
  ASSERT_OK(lease.status());
  EXPECT_THAT(blocks_, ElementsAre(ShardBytes{1000, 10}, ShardBytes{1001, 10}));
  EXPECT_EQ(table_.gauges().leased_bytes, 20);
  EXPECT_EQ(EvictAll(), 10);  // of 2
  Release(writer_, *lease);
  // In an order by use it would go last.
  Store(Block(3));
  Release(writer_, table_.LeaseEntry(writer_, KeyOfNumber(1), &blocks_).value());
  changes_.Clear();
  EXPECT_EQ(table_.Evict(1, now_, &changes_), 20);
  EXPECT_THAT(FreedNumbers(), UnorderedElementsAre(1, 1));
}

TEST_F(EntryTableTest, ASealAfterTheEntryWasDroppedIsAborted) {
  NewShard shard = Block(1);
  shard.world_size = 2;
  const LeaseId lease = Write(writer_, shard);
  shard.rank = 1;
  const SessionId dying = Open();
  Write(dying, shard);
  EXPECT_OK(table_.CloseSession(dying, &changes_));
  EXPECT_THAT(table_.Seal(writer_, lease, false, &changes_),
              StatusIs(StatusCode::kAborted, HasSubstr("gone")));
  Release(writer_, lease);
  EXPECT_EQ(table_.gauges().bytes, 0);
}

TEST_F(EntryTableTest, AChainThatLostItsMiddleIsWrittenAnew) {
  const SessionId dying = Open();
  Seal(writer_, Block(1));
  Write(dying, Block(2, 1));
  const LeaseId below = Seal(writer_, Block(3, 2));
  EXPECT_OK(table_.CloseSession(dying, &changes_));
  // The writer of 3 still reads 2 through its lease.
  EXPECT_THAT(changes_.freed, IsEmpty());
  Store(Block(2, 1));
  EXPECT_EQ(Lookup(writer_, {1, 2, 3}).num_entries, 2u);
  Release(writer_, below);
  Store(Block(3, 2));
  EXPECT_EQ(Lookup(writer_, {1, 2, 3}).num_entries, 3u);
  EXPECT_THAT(FreedNumbers(), ElementsAre(3, 2));
}

TEST_F(EntryTableTest, LookupStopsWhereTheChainBreaks) {
  StoreChain(1, 3);
  StoreChain(11, 2);
  const struct {
    const char* why;
    std::vector<uint32_t> keys;
    uint32_t num_entries;
  } kCases[] = {{"all there", {1, 2, 3}, 3},      {"the next is not there", {1, 2, 3, 4}, 3},
                {"a gap", {1, 4, 3}, 1},          {"of another chain", {1, 2, 11}, 2},
                {"twice the same", {1, 1, 2}, 1}, {"from the middle on", {2, 3}, 2},
                {"nothing there", {9, 1}, 0},     {"no keys", {}, 0}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    const Hit hit = Lookup(writer_, c.keys);
    EXPECT_EQ(hit.num_entries, c.num_entries);
    EXPECT_EQ(blocks_.size(), c.num_entries);
    EXPECT_EQ(hit.lease == LeaseId{}, c.num_entries == 0);
  }
}

TEST_F(EntryTableTest, ALeaseHoldsTheChainAboveIt) {
  StoreChain(1, 4);
  const Hit hit = Lookup(writer_, {1, 2, 3});
  EXPECT_EQ(EvictAll(), 10);
  EXPECT_THAT(FreedNumbers(), ElementsAre(4));
  Release(writer_, hit.lease);
  EXPECT_EQ(EvictAll(), 30);
  EXPECT_THAT(FreedNumbers(), ElementsAre(4, 3, 2, 1));
}

TEST_F(EntryTableTest, RoomIsMadeFromWhatWasUsedLongestAgo) {
  StoreChain(1, 5);
  StoreChain(11, 5);
  Lookup(writer_, {1, 2, 3, 4, 5});
  Store(Block(21));
  EXPECT_THAT(FreedNumbers(), ElementsAre(15));
  EXPECT_EQ(table_.gauges().bytes, 100);
}

TEST_F(EntryTableTest, AParentDoesNotMakeRoomForItsChild) {
  for (uint32_t i = 1; i <= 9; ++i) Seal(writer_, Block(i));
  Store(Block(10));
  EXPECT_THAT(Create(writer_, Block(11, 10)),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("100 of 100 bytes")));
  EXPECT_TRUE(IsThere(10));
  Store(Block(11));
  EXPECT_FALSE(IsThere(10));
}

TEST_F(EntryTableTest, ATenantAtItsQuotaEvictsItsOwn) {
  ASSERT_OK_AND_ASSIGN(const TenantIdx tenant, table_.tenants().Add(20));
  Store(Block(1));
  for (uint32_t i = 2; i <= 4; ++i) {
    NewShard shard = Block(i);
    shard.tenant = tenant;
    Store(shard);
  }
  EXPECT_THAT(FreedNumbers(), ElementsAre(2));
  NewShard large = Block(5);
  large.tenant = tenant;
  large.bytes = 21;
  EXPECT_THAT(Create(writer_, large),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("expected 1 to 20")));
}

TEST_F(EntryTableTest, WhoTakesTheLargestPartOfItsQuotaMakesRoom) {
  ASSERT_OK_AND_ASSIGN(const TenantIdx tenant, table_.tenants().Add(40));
  for (uint32_t i = 1; i <= 6; ++i) Store(Block(i));
  for (uint32_t i = 11; i <= 14; ++i) {
    NewShard shard = Block(i);
    shard.tenant = tenant;
    Store(shard);
  }
  Store(Block(7));  // the tenant's 40 of 40 are more than 60 of 100
  EXPECT_THAT(FreedNumbers(), ElementsAre(11));
}

TEST_F(EntryTableTest, APinKeepsItsChainUntilItsTime) {
  StoreChain(1, 3);
  EXPECT_OK(table_.Pin(KeyOfNumber(2), now_ + std::chrono::seconds(5)));
  EXPECT_EQ(EvictAll(), 10);
  EXPECT_EQ(table_.gauges().num_pins, 1u);
  now_ += std::chrono::seconds(5);
  EXPECT_EQ(EvictAll(), 20);
  EXPECT_EQ(table_.gauges().num_pins, 0u);
  EXPECT_THAT(table_.Pin(KeyOfNumber(2), now_), StatusIs(StatusCode::kNotFound, HasSubstr("key")));
}

TEST_F(EntryTableTest, APinSetAgainKeepsToItsNewTime) {
  Store(Block(1));
  Store(Block(2));
  EXPECT_OK(table_.Pin(KeyOfNumber(1), now_ + std::chrono::seconds(5)));
  EXPECT_OK(table_.Pin(KeyOfNumber(1), now_ + std::chrono::seconds(20)));
  EXPECT_OK(table_.Pin(KeyOfNumber(2), now_ + std::chrono::seconds(20)));
  EXPECT_OK(table_.Pin(KeyOfNumber(2), now_ + std::chrono::seconds(5)));
  EXPECT_EQ(table_.gauges().num_pins, 2u);
  now_ += std::chrono::seconds(5);
  EXPECT_EQ(EvictAll(), 10);
  EXPECT_TRUE(IsThere(1));
  now_ += std::chrono::seconds(15);
  EXPECT_EQ(EvictAll(), 10);
}

TEST_F(EntryTableTest, AnUnpinnedEntryMayGo) {
  Store(Block(1));
  EXPECT_OK(table_.Pin(KeyOfNumber(1), TimePoint::max()));
  EXPECT_EQ(EvictAll(), 0);
  EXPECT_OK(table_.Unpin(KeyOfNumber(1)));
  EXPECT_THAT(table_.Unpin(KeyOfNumber(1)), StatusIs(StatusCode::kNotFound, HasSubstr("pinned")));
  EXPECT_EQ(EvictAll(), 10);
}

TEST_F(EntryTableTest, APurgeTakesAllThatMayGoInSteps) {
  StoreChain(1, 3);
  StoreChain(11, 3);
  StoreChain(21, 1);
  EXPECT_OK(table_.Pin(KeyOfNumber(2), now_ + std::chrono::seconds(5)));
  const Hit held = Lookup(writer_, {21});
  const Purged first = table_.Purge(std::nullopt, 3, now_, &changes_);
  EXPECT_EQ(first.num_entries, 3u);
  EXPECT_EQ(first.bytes, 30);
  EXPECT_FALSE(first.is_done);
  const Purged rest = table_.Purge(std::nullopt, 100, now_, &changes_);
  EXPECT_EQ(rest.num_entries, 1u);
  EXPECT_TRUE(rest.is_done);
  Release(writer_, held.lease);
  now_ += std::chrono::seconds(5);
  EXPECT_EQ(table_.Purge(std::nullopt, 100, now_, &changes_).num_entries, 3u);
  EXPECT_EQ(table_.gauges().num_entries, 0u);
}

TEST_F(EntryTableTest, ATenantIsPurgedAlone) {
  const TenantIdx tenant = table_.tenants().Add(50).value();
  Store(Block(1));
  NewShard shard = Block(11);
  shard.tenant = tenant;
  Store(shard);
  EXPECT_EQ(table_.Purge(tenant, 100, now_, &changes_).num_entries, 1u);
  EXPECT_THAT(FreedNumbers(), ElementsAre(11));
  EXPECT_EQ(table_.Purge(TenantIdx{0}, 100, now_, &changes_).num_entries, 1u);
}

TEST(EntryTablePurgeTest, IsNotDoneWhileTheOrderOnlyTookItsMostSteps) {
  EntryTableOptions options;
  options.capacity_bytes = 100;
  OrderOptions order = options.order();
  order.max_steps = 1;
  EntryTable table(options, CreateLruOrder(order));
  const SessionId session = table.OpenSession().value();
  Changes changes;
  for (uint32_t i = 1; i <= 2; ++i) {
    const NewShard shard{.key = KeyOfNumber(i), .bytes = 10};
    const LeaseId lease = table.Create(session, shard, {}, &changes)->lease;
    EXPECT_OK(table.Place(session, lease, 0));
    EXPECT_OK(table.Seal(session, lease, false, &changes));
    if (i == 2) {
      EXPECT_OK(table.Release(session, lease, &changes));
    }
  }
  const Purged first = table.Purge(std::nullopt, 10, {}, &changes);  // meets the leased one
  EXPECT_EQ(first.num_entries, 0u);
  EXPECT_FALSE(first.is_done);
  const Purged second = table.Purge(std::nullopt, 10, {}, &changes);
  EXPECT_EQ(second.num_entries, 1u);
  EXPECT_TRUE(second.is_done);
}

TEST_F(EntryTableTest, EntriesAreListedWithWhatHoldsThem) {
  StoreChain(1, 2);
  EXPECT_OK(table_.Pin(KeyOfNumber(1), now_ + std::chrono::seconds(5)));
  Lookup(writer_, {1, 2});
  const LeaseId writing = Write(writer_, Block(3, 2));
  std::vector<EntryInfo> listed;
  std::optional<EntryIdx> at = table_.ListEntries(0, 2, &listed);
  ASSERT_EQ(at, 2u);
  EXPECT_EQ(listed.size(), 2u);
  EXPECT_EQ(table_.ListEntries(*at, 2, &listed), std::nullopt);
  ASSERT_EQ(listed.size(), 3u);
  EXPECT_EQ(listed[0].key, KeyOfNumber(1));
  EXPECT_EQ(listed[0].parent, std::nullopt);
  EXPECT_EQ(listed[0].pinned_until, now_ + std::chrono::seconds(5));
  EXPECT_EQ(listed[0].num_children, 1u);
  EXPECT_EQ(listed[1].parent, KeyOfNumber(1));
  EXPECT_EQ(listed[1].num_leases, 1u);
  EXPECT_EQ(listed[1].pinned_until, std::nullopt);
  EXPECT_EQ(listed[1].state, EntryInfo::State::kSealed);
  EXPECT_EQ(listed[2].state, EntryInfo::State::kCreated);
  EXPECT_EQ(listed[2].bytes, 10);
  Release(writer_, writing);
}

TEST_F(EntryTableTest, AnEntryIsEvictedByNameOnlyIfItMayGo) {
  const Created parent = *Create(writer_, Block(1));
  EXPECT_FALSE(table_.EvictEntry(parent.entry, &changes_)) << "being written";
  EXPECT_OK(table_.Place(writer_, parent.lease, 1000));
  EXPECT_OK(table_.Seal(writer_, parent.lease, false, &changes_));
  EXPECT_FALSE(table_.EvictEntry(parent.entry, &changes_)) << "leased";
  const LeaseId child = Seal(writer_, Block(2, 1));
  Release(writer_, parent.lease);
  EXPECT_FALSE(table_.EvictEntry(parent.entry, &changes_)) << "has a child";
  Release(writer_, child);
  EXPECT_EQ(table_.Evict(10, now_, &changes_), 10);
  EXPECT_OK(table_.Pin(KeyOfNumber(1), TimePoint::max()));
  EXPECT_EQ(EvictAll(), 0);  // parks it
  EXPECT_FALSE(table_.EvictEntry(parent.entry, &changes_)) << "pinned";
  EXPECT_OK(table_.Unpin(KeyOfNumber(1)));
  EXPECT_TRUE(table_.EvictEntry(parent.entry, &changes_));
  EXPECT_FALSE(table_.EvictEntry(parent.entry, &changes_)) << "gone";
  EXPECT_THAT(FreedNumbers(), ElementsAre(2, 1));
  EXPECT_EQ(table_.gauges().order.num_entries, 0u);
}

TEST_F(EntryTableTest, AChildEvictedByNameLetsItsParentGo) {
  StoreChain(1, 1);
  const Created child = *Create(writer_, Block(2, 1));
  EXPECT_OK(table_.Place(writer_, child.lease, 2000));
  EXPECT_OK(table_.Seal(writer_, child.lease, false, &changes_));
  EXPECT_EQ(EvictAll(), 0);  // parks both
  Release(writer_, child.lease);
  EXPECT_TRUE(table_.EvictEntry(child.entry, &changes_));
  EXPECT_EQ(EvictAll(), 10);
}

TEST_F(EntryTableTest, AWithdrawnShardLeavesTheOtherRanksTheirs) {
  NewShard shard = Block(1);
  shard.world_size = 2;
  const LeaseId first = Seal(writer_, shard);
  shard.rank = 1;
  const LeaseId second = Create(writer_, shard)->lease;
  EXPECT_THAT(table_.Withdraw(writer_, first, &changes_),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("created last")));
  EXPECT_OK(table_.Withdraw(writer_, second, &changes_));
  EXPECT_EQ(table_.gauges().bytes, 10);
  EXPECT_EQ(table_.gauges().leased_bytes, 10);
  EXPECT_THAT(changes_.abandoned, IsEmpty());
  Seal(writer_, shard);
  EXPECT_TRUE(IsThere(1));
}

TEST_F(EntryTableTest, ACorruptEntryIsAMissAtOnce) {
  StoreChain(1, 3);
  const Hit hit = Lookup(writer_, {1, 2, 3});
  EXPECT_OK(table_.Invalidate(KeyOfNumber(2), &changes_));
  EXPECT_EQ(Lookup(writer_, {1, 2, 3}).num_entries, 1u);
  EXPECT_THAT(changes_.freed, IsEmpty());
  Release(writer_, hit.lease);
  EvictAll();
  EXPECT_THAT(FreedNumbers(), ElementsAre(3, 2));  // 1 is leased by the second look-up
}

TEST_F(EntryTableTest, ASessionsEndFreesItsOwnOnly) {
  StoreChain(1, 3);
  const SessionId dying = Open();
  Lookup(dying, {1, 2, 3});
  Lookup(writer_, {1});
  EXPECT_EQ(table_.gauges().num_leases, 2u);
  EXPECT_OK(table_.CloseSession(dying, &changes_));
  EXPECT_EQ(table_.gauges().num_leases, 1u);
  EXPECT_EQ(EvictAll(), 20);
  EXPECT_TRUE(IsThere(1));
}

TEST_F(EntryTableTest, WatchHearsOfSampledDepthsAndTips) {
  EntryTableOptions options = Options();
  options.capacity_bytes = 1000;
  options.watch_stride = 3;
  EntryTable table(options, CreateS3FifoOrder(options.order()));
  const SessionId session = table.OpenSession().value();
  for (uint32_t i = 0; i < 12; ++i) {
    NewShard shard = i == 0 ? Block(1) : Block(i + 1, i);
    const LeaseId lease = table.Create(session, shard, now_, &changes_)->lease;
    EXPECT_OK(table.Place(session, lease, 0));
    EXPECT_OK(table.Seal(session, lease, /*is_tip=*/i == 11, &changes_));
    EXPECT_OK(table.Release(session, lease, &changes_));
  }
  const auto depths = [](const std::vector<EntryEvent>& events) {
    std::vector<uint32_t> depths;
    for (const EntryEvent& event : events) depths.push_back(event.depth);
    return depths;
  };
  EXPECT_THAT(depths(changes_.events), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 9, 11));
  std::vector<EntryEvent> listed;
  for (std::optional<EntryIdx> at = 0; at.has_value();) at = table.ListAnnounced(*at, 2, &listed);
  EXPECT_EQ(listed, changes_.events);
  changes_.Clear();
  EXPECT_EQ(table.Evict(INT64_MAX, now_, &changes_), 120);
  EXPECT_THAT(depths(changes_.events), ElementsAre(11, 9, 7, 6, 5, 4, 3, 2, 1, 0));
}

}  // namespace
}  // namespace skv::kvstore
