#include "kvstore/store/block_store.h"

#include <algorithm>
#include <functional>

#include "gtest/gtest.h"
#include "kvstore/index/lru_order.h"
#include "kvstore/store/testing/store_chains.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Outcome = Created::Outcome;

constexpr int64_t kSmall = 192;  // bytes of MakeSentence(n)

// Ten small blocks fill the arena.
class BlockStoreTest : public testing::Test {
 protected:
  static BlockStoreOptions Options() {
    BlockStoreOptions options;
    options.index.capacity_bytes = 10 * kSmall;
    options.index.max_entries = options.index.max_shards = 100;
    options.index.watch_stride = 1;
    return options;
  }

  SessionId Open() { return store_.OpenSession().value(); }
  absl::StatusOr<CreatedBlock> Create(SessionId session, const TestSentence& sentence) {
    return store_.Create(session, {sentence.block}, now_)[0];
  }
  std::span<std::byte> PlaceOf(const CreatedBlock& created) {
    return std::span(arena_).subspan(created.offset, created.num_bytes);
  }
  CreatedBlock Write(SessionId session, const TestSentence& sentence) {
    const absl::StatusOr<CreatedBlock> created = Create(session, sentence);
    EXPECT_OK(created);
    EXPECT_EQ(created->outcome, Outcome::kCreated);
    WriteBlock(HeaderOf(sentence), sentence.fill, PlaceOf(*created));
    return *created;
  }
  absl::StatusOr<bool> Seal(SessionId session, LeaseId lease) {
    return store_.Seal(session, {lease}, /*is_tip=*/false)[0];
  }
  // Sealed, and still leased.
  CreatedBlock Keep(SessionId session, const TestSentence& sentence) {
    const CreatedBlock created = Write(session, sentence);
    EXPECT_OK(Seal(session, created.lease));
    return created;
  }
  void Store(const TestSentence& sentence) {
    EXPECT_OK(store_.Release(writer_, {Keep(writer_, sentence).lease}));
  }
  bool IsThere(const TestSentence& sentence) {
    const Hit hit = store_.Get(writer_, 0, {sentence.block.key}, &blocks_).value();
    if (hit.num_entries == 0) return false;
    EXPECT_OK(store_.Release(writer_, {hit.lease}));
    return true;
  }

  std::vector<std::byte> arena_ = std::vector<std::byte>(10 * kSmall);
  BlockStore store_{Options(), CreateLruOrder(Options().index.order()), arena_};
  const SessionId writer_ = Open();
  TimePoint now_;
  std::vector<ShardBytes> blocks_;
};

TEST_F(BlockStoreTest, WhatIsSealedIsFoundWhereItWasWritten) {
  const TestSentence first = MakeSentence(1), second = MakeSentence(2, &first);
  const auto created = store_.Create(writer_, {first.block, second.block}, now_);
  ASSERT_OK(created[0]);
  ASSERT_OK(created[1]);
  WriteBlock(HeaderOf(first), first.fill, PlaceOf(*created[0]));
  WriteBlock(HeaderOf(second), second.fill, PlaceOf(*created[1]));
  for (const auto& sealed : store_.Seal(writer_, {created[0]->lease, created[1]->lease}, true)) {
    EXPECT_OK(sealed);
    EXPECT_TRUE(*sealed);
  }
  EXPECT_THAT(store_.TakeNews().sealed, ElementsAre(first.block.key, second.block.key));
  EXPECT_THAT(store_.TakeNews().sealed, IsEmpty());
  const Hit hit = *store_.Get(Open(), 0, {first.block.key, second.block.key}, &blocks_);
  EXPECT_EQ(hit.num_entries, 2u);
  ASSERT_EQ(blocks_.size(), 2u);
  EXPECT_EQ(blocks_[1].offset, static_cast<int64_t>(created[1]->offset));
  const auto parsed = ParseBlock(std::span(arena_).subspan(blocks_[1].offset), "second");
  ASSERT_OK(parsed);
  EXPECT_EQ(parsed->header, HeaderOf(second));
}

TEST_F(BlockStoreTest, ASecondWriterWaitsAndIsToldWhenTheFirstDies) {
  const TestSentence sentence = MakeSentence(1);
  const SessionId dying = Open();
  Write(dying, sentence);
  ASSERT_OK_AND_ASSIGN(const CreatedBlock second, Create(writer_, sentence));
  EXPECT_EQ(second.outcome, Outcome::kInProgress);
  EXPECT_EQ(second.writer, dying);
  EXPECT_OK(store_.CloseSession(dying));
  EXPECT_THAT(store_.TakeNews().abandoned, ElementsAre(sentence.block.key));
  EXPECT_EQ(store_.gauges().live_bytes, 0u);
  Store(sentence);
  EXPECT_EQ(Create(writer_, sentence)->outcome, Outcome::kExists);
}

TEST_F(BlockStoreTest, AHeaderThatIsNotAsCreatedIsRefusedAndItsWaitersTold) {
  const TestSentence parent = MakeSentence(9), sentence = MakeSentence(1);
  const struct {
    const char* field;
    std::function<void(TestSentence*)> change;
  } kCases[] = {{"prefix key", [](TestSentence* s) { *s = MakeSentence(2); }},
                {"prefix key", [&](TestSentence* s) { *s = MakeSentence(1, &parent); }},
                {"layout id", [](TestSentence* s) { s->block.key.layout.bytes[0] = 1; }},
                {"rank", [](TestSentence* s) { s->block.rank = 1, s->block.world_size = 2; }},
                {"group_size", [](TestSentence* s) { s->block.world_size = 2; }},
                {"payload_bytes", [](TestSentence* s) { s->block.payload_bytes = 63; }}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.field);
    ASSERT_OK_AND_ASSIGN(const CreatedBlock created, Create(writer_, sentence));
    TestSentence written = sentence;
    c.change(&written);
    WriteBlock(HeaderOf(written), written.fill, PlaceOf(created));
    EXPECT_THAT(Seal(writer_, created.lease),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr(c.field)));
    EXPECT_THAT(store_.TakeNews().abandoned, ElementsAre(sentence.block.key));
    EXPECT_THAT(store_.Release(writer_, {created.lease}),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("not held")));
    EXPECT_EQ(store_.gauges().live_bytes, 0u);
  }
}

TEST_F(BlockStoreTest, TheParentAndTokensThatCreateWasToldMustBeTheHeaders) {
  const TestSentence first = MakeSentence(1), other_first = MakeSentence(3);
  Store(first);
  Store(other_first);
  const TestSentence sentence = MakeSentence(2, &first);
  TestSentence other_parent = sentence;
  other_parent.block.parent = other_first.block.key.prefix;
  TestSentence more_tokens = sentence;
  more_tokens.block.num_tokens = 2;
  TestSentence no_parent = sentence;
  no_parent.block.is_first = true;
  for (const auto& [field, created_as] :
       {std::pair("parent key", other_parent), std::pair("num_tokens", more_tokens),
        std::pair("is_first", no_parent)}) {
    SCOPED_TRACE(field);
    ASSERT_OK_AND_ASSIGN(const CreatedBlock created, Create(writer_, created_as));
    WriteBlock(HeaderOf(sentence), sentence.fill, PlaceOf(created));
    EXPECT_THAT(Seal(writer_, created.lease),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr(field)));
  }
}

TEST_F(BlockStoreTest, TheRootOfAFirstSentenceIsItsHeadersOwn) {
  const TestSentence sentence = MakeSentence(1);
  TestSentence without_root = sentence;
  without_root.block.parent = {};
  ASSERT_OK_AND_ASSIGN(const CreatedBlock created, Create(writer_, without_root));
  WriteBlock(HeaderOf(sentence), sentence.fill, PlaceOf(created));
  ASSERT_OK_AND_ASSIGN(const bool is_visible, Seal(writer_, created.lease));
  EXPECT_TRUE(is_visible);
}

TEST_F(BlockStoreTest, AnOldHeaderDoesNotSealANewBlock) {
  const TestSentence sentence = MakeSentence(1);
  Store(sentence);
  EXPECT_EQ(store_.Evict(1, now_), kSmall);
  ASSERT_OK_AND_ASSIGN(const CreatedBlock created, Create(writer_, sentence));
  EXPECT_THAT(Seal(writer_, created.lease),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("magic")));
}

TEST_F(BlockStoreTest, SizesOutOfRangeAreRefused) {
  for (const int num_tokens : {-1, 0, kMaxBlockTokens + 1}) {
    TestSentence sentence = MakeSentence(1);
    sentence.block.num_tokens = num_tokens;
    EXPECT_THAT(Create(writer_, sentence),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("num_tokens")));
  }
  for (const uint64_t payload_bytes : {uint64_t{0}, kMaxPayloadBytes + 1, UINT64_MAX}) {
    TestSentence sentence = MakeSentence(1);
    sentence.block.payload_bytes = payload_bytes;
    EXPECT_THAT(Create(writer_, sentence),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("payload_bytes")));
  }
  EXPECT_THAT(Create(writer_, MakeSentence(1, nullptr, 10 * kSmall)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("bytes")));
}

TEST_F(BlockStoreTest, AHoleIsWidenedByTheVictimsNeighbours) {
  for (int i = 1; i <= 10; ++i) Store(MakeSentence(i));
  // Used in this order, so that victims alone would leave holes of one block: 1, 4, 7, 10, ...
  for (const int i : {1, 4, 7, 10, 2, 5, 8, 3, 6, 9}) EXPECT_TRUE(IsThere(MakeSentence(i)));
  Store(MakeSentence(11, nullptr, 3 * kSmall - 128));
  EXPECT_EQ(store_.gauges().num_widening, 2u);
  EXPECT_EQ(store_.gauges().index.num_evicted, 6u);  // 1, 4, 7 for the bytes; 10 and two beside it
}

TEST_F(BlockStoreTest, ALeasedNeighbourStays) {
  std::vector<LeaseId> leases;
  for (int i = 1; i <= 10; ++i) leases.push_back(Keep(writer_, MakeSentence(i)).lease);
  for (const int i : {1, 3, 5, 7, 9, 10}) EXPECT_OK(store_.Release(writer_, {leases[i - 1]}));
  Store(MakeSentence(11, nullptr, 2 * kSmall - 128));  // only 9 and 10 lie side by side
  for (const int i : {2, 4, 6, 8, 11}) EXPECT_TRUE(IsThere(MakeSentence(i))) << i;
}

TEST_F(BlockStoreTest, WhereLeasedBlocksLeaveNoHoleTheErrorSaysWhatIsHeld) {
  std::vector<LeaseId> leases;
  for (int i = 1; i <= 10; ++i) leases.push_back(Keep(writer_, MakeSentence(i)).lease);
  EXPECT_THAT(Create(writer_, MakeSentence(11)),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("1920 bytes are leased")));
  for (const int i : {1, 3, 5, 7, 9}) EXPECT_OK(store_.Release(writer_, {leases[i - 1]}));
  store_.TakeNews();
  EXPECT_THAT(Create(writer_, MakeSentence(11, nullptr, kSmall)),
              StatusIs(StatusCode::kResourceExhausted,
                       HasSubstr("960 bytes in 5 entries are held by leases")));
  for (const int i : {2, 4, 6, 8, 10}) EXPECT_TRUE(IsThere(MakeSentence(i))) << i;
  EXPECT_EQ(store_.gauges().live_bytes, 5u * kSmall);
  Store(MakeSentence(12));
}

// Ten small blocks, those of `leased` held; then one of two small ones' bytes.
absl::Status CreateLargeAmongLeased(BlockStore* store, std::span<std::byte> arena,
                                    const std::vector<int>& leased) {
  const SessionId session = *store->OpenSession();
  for (int i = 1; i <= 10; ++i) {
    const TestSentence sentence = MakeSentence(i);
    const CreatedBlock created = *store->Create(session, {sentence.block}, {})[0];
    WriteBlock(HeaderOf(sentence), sentence.fill, arena.subspan(created.offset));
    EXPECT_OK(store->Seal(session, {created.lease}, false)[0]);
    if (std::count(leased.begin(), leased.end(), i) > 0) continue;
    EXPECT_OK(store->Release(session, {created.lease}));
  }
  return store->Create(session, {MakeSentence(11, nullptr, kSmall).block}, {})[0].status();
}

TEST_F(BlockStoreTest, CreateGivesUpBeforeItHasEmptiedTheStore) {
  BlockStoreOptions options = Options();
  options.max_evicted_per_byte = 1;
  BlockStore store(options, CreateLruOrder(options.index.order()), arena_);
  EXPECT_THAT(CreateLargeAmongLeased(&store, arena_, {2, 4, 6, 8, 10}),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("no hole")));
  // Two for its bytes, then as many again.
  EXPECT_EQ(store.gauges().index.num_evicted, 4u);
}

TEST_F(BlockStoreTest, WhatGoesBeforeHolesAreWidenedIsNotCounted) {
  BlockStoreOptions options = Options();
  options.max_evicted_per_byte = 1;
  options.widen_below = 0.5;
  BlockStore store(options, CreateLruOrder(options.index.order()), arena_);
  EXPECT_OK(CreateLargeAmongLeased(&store, arena_, {2, 4, 6}));
  EXPECT_EQ(store.gauges().index.num_evicted, 5u);  // 1 and 3 for its bytes; 5, 7 and 8
  EXPECT_EQ(store.gauges().num_widening, 0u);
}

TEST_F(BlockStoreTest, AnEntryIsEvictedWithTheBlocksOfAllRanks) {
  TestSentence sentence = MakeSentence(1);
  sentence.block.world_size = 2;
  const CreatedBlock rank0 = Keep(writer_, sentence);
  EXPECT_FALSE(IsThere(sentence));
  sentence.block.rank = 1;
  const CreatedBlock rank1 = Keep(writer_, sentence);
  EXPECT_TRUE(IsThere(sentence));
  EXPECT_OK(store_.Release(writer_, {rank0.lease, rank1.lease}));
  for (int i = 2; i <= 9; ++i) Store(MakeSentence(i));
  EXPECT_EQ(store_.gauges().num_blocks, 10u);
  for (int i = 2; i <= 9; ++i) EXPECT_TRUE(IsThere(MakeSentence(i)));
  Store(MakeSentence(10));
  EXPECT_FALSE(IsThere(sentence));
  EXPECT_EQ(store_.gauges().num_blocks, 9u);
}

TEST_F(BlockStoreTest, ARankThatFindsNoHoleLeavesTheOthersTheirBlocks) {
  TestSentence sentence = MakeSentence(1);
  sentence.block.world_size = 2;
  Keep(writer_, sentence);
  std::vector<LeaseId> leases;
  for (int i = 2; i <= 10; ++i) leases.push_back(Keep(writer_, MakeSentence(i)).lease);
  for (const int i : {2, 4}) EXPECT_OK(store_.Release(writer_, {leases[i - 2]}));
  sentence.block.rank = 1;
  sentence.block.payload_bytes = kSmall;
  EXPECT_THAT(Create(writer_, sentence),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("hole")));
  EXPECT_THAT(store_.TakeNews().abandoned, IsEmpty());
  sentence.block.payload_bytes = 64;
  Keep(writer_, sentence);
  EXPECT_TRUE(IsThere(sentence));
}

TEST_F(BlockStoreTest, ACorruptBlockIsAMissAndItsMemoryStaysWhileItIsRead) {
  const TestSentence sentence = MakeSentence(1);
  Store(sentence);
  const SessionId reader = Open();
  ASSERT_OK_AND_ASSIGN(const Hit hit, store_.Get(reader, 0, {sentence.block.key}, &blocks_));
  EXPECT_OK(store_.Invalidate(sentence.block.key));
  EXPECT_FALSE(IsThere(sentence));
  EXPECT_EQ(store_.gauges().num_blocks, 1u);
  EXPECT_OK(store_.Release(reader, {hit.lease}));
  EXPECT_EQ(store_.gauges().num_blocks, 0u);
}

}  // namespace
}  // namespace skv::kvstore
