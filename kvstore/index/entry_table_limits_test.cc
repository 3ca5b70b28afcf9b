// What the entry table refuses: handles and blocks that make no sense, and more than it has room
// for.

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "kvstore/index/entry_table.h"
#include "kvstore/index/lru_order.h"
#include "kvstore/index/testing/entry_table_fixture.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using EntryTableLimitsTest = EntryTableFixture;

TEST_F(EntryTableLimitsTest, HandlesThatAreNotOursChangeNothing) {
  const SessionId other = Open();
  Store(Block(1));
  const LeaseId lease = Lookup(writer_, {1}).lease;
  const LeaseId stale = Lookup(writer_, {1}).lease;
  Release(writer_, stale);
  const SessionId closed = Open();
  EXPECT_OK(table_.CloseSession(closed, &changes_));
  const struct {
    const char* why;
    SessionId session;
    LeaseId lease;
  } kCases[] = {{"released before", writer_, stale},
                {"of another session", other, lease},
                {"wrong generation", writer_, {lease.index, lease.generation + 2}},
                {"free generation", writer_, {lease.index, lease.generation + 1}},
                {"index beyond all", writer_, {UINT32_MAX, 1}},
                {"default", writer_, {}},
                {"closed session", closed, lease},
                {"forged session", {77, 1}, lease}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    const auto refuses = StatusIs(StatusCode::kInvalidArgument, testing::_);
    EXPECT_THAT(table_.Release(c.session, c.lease, &changes_), refuses);
    EXPECT_THAT(table_.Seal(c.session, c.lease, false, &changes_), refuses);
    EXPECT_THAT(table_.Place(c.session, c.lease, 0), refuses);
  }
  EXPECT_THAT(table_.CloseSession(closed, &changes_),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("not open")));
  EXPECT_EQ(table_.gauges().num_leases, 1u);
  EXPECT_EQ(EvictAll(), 0);
}

TEST_F(EntryTableLimitsTest, AReadersLeaseNeitherPlacesNorSeals) {
  const LeaseId lease = Seal(writer_, Block(1));
  EXPECT_THAT(table_.Seal(writer_, lease, false, &changes_),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("no block is written")));
  EXPECT_THAT(table_.Place(writer_, lease, 5),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("no block")));
}

TEST_F(EntryTableLimitsTest, ABlockWithoutAPlaceIsNotSealed) {
  const LeaseId lease = Create(writer_, Block(1))->lease;
  EXPECT_THAT(table_.Seal(writer_, lease, false, &changes_),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("place")));
  EXPECT_OK(table_.Place(writer_, lease, 0));
  EXPECT_OK(table_.Seal(writer_, lease, false, &changes_));
}

TEST_F(EntryTableLimitsTest, BlocksThatMakeNoSenseAreRefused) {
  Store(Block(1));
  const LeaseId writing = Write(writer_, Block(2));
  const struct {
    const char* why;
    NewShard shard;
    StatusCode code;
  } kCases[] = {
      {"unknown parent", Block(5, 4), StatusCode::kNotFound},
      {"another parent", Block(1, 2), StatusCode::kInvalidArgument},
      {"its own parent", Block(1, 1), StatusCode::kInvalidArgument},
      {"no bytes", {.key = KeyOfNumber(5)}, StatusCode::kInvalidArgument},
      {"too many bytes", {.key = KeyOfNumber(5), .bytes = 101}, StatusCode::kInvalidArgument},
      {"unknown tenant",
       {.key = KeyOfNumber(5), .tenant = 9, .bytes = 1},
       StatusCode::kInvalidArgument},
      {"rank beyond the group",
       {.key = KeyOfNumber(5), .rank = 1, .bytes = 1},
       StatusCode::kInvalidArgument},
      {"too large a group",
       {.key = KeyOfNumber(5), .world_size = 65, .bytes = 1},
       StatusCode::kInvalidArgument},
      {"another group size",
       {.key = KeyOfNumber(2), .rank = 1, .world_size = 2, .bytes = 1},
       StatusCode::kInvalidArgument}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    EXPECT_THAT(Create(writer_, c.shard), StatusIs(c.code, testing::_));
  }
  EXPECT_EQ(table_.gauges().num_entries, 2u);
  Release(writer_, writing);
  EXPECT_EQ(table_.gauges().num_entries, 1u);
}

TEST_F(EntryTableLimitsTest, EachTableHasAnEnd) {
  for (int i = 0; i < 7; ++i) Open();
  EXPECT_THAT(table_.OpenSession(),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("max_sessions")));
  Store(Block(1));
  for (int i = 0; i < 50; ++i) Lookup(writer_, {1});
  std::vector<ShardBytes> blocks;
  const std::vector<EntryKey> keys = {KeyOfNumber(1)};
  EXPECT_THAT(table_.Lookup(writer_, 0, keys, &blocks),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("max_leases_per_session")));
  EXPECT_THAT(Create(writer_, Block(2)),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("max_leases_per_session")));
  EXPECT_EQ(table_.gauges().num_entries, 1u);
}

TEST_F(EntryTableLimitsTest, AFullTableOfEntriesEvicts) {
  EntryTableOptions options = Options();
  options.max_entries = 3;
  EntryTable table(options, CreateLruOrder(options.order()));
  const SessionId session = table.OpenSession().value();
  for (uint32_t i = 0; i < 5; ++i) {
    const LeaseId lease = table.Create(session, Block(i), now_, &changes_)->lease;
    EXPECT_OK(table.Place(session, lease, 1000 * i));
    EXPECT_OK(table.Seal(session, lease, false, &changes_));
    EXPECT_OK(table.Release(session, lease, &changes_));
  }
  EXPECT_THAT(FreedNumbers(), ElementsAre(0, 1));
  EXPECT_EQ(table.gauges().num_entries, 3u);
}

TEST(EntryTableOptionsTest, NamesTheFieldThatIsWrong) {
  EntryTableOptions options;
  EXPECT_THAT(options.Validate(),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("capacity_bytes is 0")));
  options.capacity_bytes = 1;
  EXPECT_OK(options.Validate());
  options.max_tenants = 1 << 17;
  EXPECT_THAT(options.Validate(), StatusIs(StatusCode::kInvalidArgument, HasSubstr("max_tenants")));
}

}  // namespace
}  // namespace skv::kvstore
