#include "kvstore/client/block_memory.h"

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/block/block_header.h"
#include "kvstore/client/testing/test_chain.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

constexpr uint64_t kBytes = 1024;
constexpr uint64_t kBlockBytes = 192;  // of a sentence of MakeChain

BlockOwner TestOwner() {
  BlockOwner owner = {.rank = 1, .group_size = 2};
  owner.layout.bytes[0] = 1;
  return owner;
}

class BlockMemoryTest : public testing::Test {
 protected:
  // As a store's writer would leave it, at block `idx`.
  void Put(int idx, const NewSentence& sentence, const BlockOwner& owner) {
    BlockMemory writer(bytes_, owner);
    const ArenaRange range = RangeOf(idx);
    WritableBlock block(HeldLease(), sentence, bytes_.subspan(range.offset, range.num_bytes));
    std::fill(block.payload().begin(), block.payload().end(), FillOf(sentence));
    EXPECT_OK(writer.WriteHeader(block));
  }
  static ArenaRange RangeOf(int idx) { return {kBlockBytes * idx, kBlockBytes}; }
  size_t NumFound(uint64_t lease, const std::vector<ArenaRange>& ranges) {
    return memory_.AddFound(lease, ranges, chain_.keys).value().size();
  }

  alignas(kBlockAlignment) std::byte storage_[kBytes] = {};
  const std::span<std::byte> bytes_ = storage_;
  const BlockOwner owner_ = TestOwner();
  BlockMemory memory_{bytes_, owner_};
  const TestChain chain_ = MakeChain(1, 2);
};

TEST_F(BlockMemoryTest, RemembersABlockAsLongAsAnyLeaseHasIt) {
  Put(0, chain_.sentences[0], owner_);
  Put(1, chain_.sentences[1], owner_);
  for (const uint64_t lease : {1, 2}) {
    EXPECT_OK(memory_.BeginLease(lease));
    EXPECT_EQ(NumFound(lease, {RangeOf(0), RangeOf(1)}), 2u);
  }
  EXPECT_EQ(memory_.num_verified_bytes(), 128u);
  EXPECT_EQ(memory_.num_leases(), 2u);
  EXPECT_EQ(memory_.num_known_blocks(), 2u);
  memory_.EndLease(1);
  EXPECT_EQ(memory_.num_known_blocks(), 2u);
  memory_.EndLease(2);
  EXPECT_EQ(memory_.num_known_blocks(), 0u);
  EXPECT_EQ(memory_.num_leases(), 0u);
}

TEST_F(BlockMemoryTest, AHitEndsBeforeABlockOfAnotherName) {
  BlockOwner other_layout = owner_, other_rank = owner_, other_group = owner_;
  other_layout.layout = LayoutId();
  other_rank.rank = 0;
  other_group.group_size = 3;
  EXPECT_OK(memory_.BeginLease(1));
  Put(0, chain_.sentences[0], owner_);
  for (const BlockOwner& owner : {other_layout, other_rank, other_group}) {
    Put(1, chain_.sentences[1], owner);
    EXPECT_EQ(NumFound(1, {RangeOf(0), RangeOf(1)}), 1u);
  }
  Put(1, MakeChain(2, 1).sentences[0], owner_);
  EXPECT_EQ(NumFound(1, {RangeOf(0), RangeOf(1)}), 1u);
  EXPECT_EQ(memory_.num_corrupt_blocks(), 4u);
}

TEST_F(BlockMemoryTest, ABlockThatIsLeasedIsNoOther) {
  Put(0, chain_.sentences[0], owner_);
  EXPECT_OK(memory_.BeginLease(1));
  EXPECT_EQ(NumFound(1, {RangeOf(0), RangeOf(0)}), 1u);
  EXPECT_EQ(memory_.num_corrupt_blocks(), 1u);
  EXPECT_THAT(memory_.PlaceFor(chain_.sentences[1], RangeOf(0)).status(),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("that is leased lies there")));
}

TEST_F(BlockMemoryTest, RangesAreHeldAgainstTheMemory) {
  const ArenaRange kBad[] = {{kBytes, 64},     {kBytes - 128, kBlockBytes}, {0, kBytes + 1},
                             {8, kBlockBytes}, {kMaxArenaBytes, 64},        {64, UINT64_MAX}};
  EXPECT_OK(memory_.BeginLease(1));
  for (const ArenaRange& range : kBad) {
    SCOPED_TRACE(range.offset);
    EXPECT_THAT(memory_.PlaceFor(chain_.sentences[0], range).status(),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("expected within 1024 bytes")));
    EXPECT_THAT(memory_.AddFound(1, std::span(&range, 1), chain_.keys).status(),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("expected within 1024 bytes")));
  }
  EXPECT_THAT(memory_.PlaceFor(chain_.sentences[0], {64, kBlockBytes - 1}).status(),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("has 191 bytes")));
  EXPECT_OK(memory_.PlaceFor(chain_.sentences[0], {kBytes - kBlockBytes, kBlockBytes}).status());
}

TEST_F(BlockMemoryTest, ALeaseIsGivenOnce) {
  EXPECT_OK(memory_.BeginLease(1));
  EXPECT_THAT(memory_.BeginLease(1),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("lease 1 was given twice")));
  memory_.EndLease(1);
  EXPECT_OK(memory_.BeginLease(1));
}

}  // namespace
}  // namespace skv::kvstore
