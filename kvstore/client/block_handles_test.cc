#include "kvstore/client/block_handles.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/block/block_header.h"

namespace skv::kvstore {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class RecordingOwner : public LeaseOwner {
 public:
  void EndLease(uint64_t lease) override { ended.push_back(lease); }
  std::vector<uint64_t> ended;
};

class BlockHandlesTest : public testing::Test {
 protected:
  LeasedChain Chain(uint64_t lease) {
    return LeasedChain(HeldLease(owner_, lease), {LeasedBlock{{}, 1}});
  }
  std::shared_ptr<RecordingOwner> owner_ = std::make_shared<RecordingOwner>();
};

TEST_F(BlockHandlesTest, ALeaseEndsOnceHoweverItIsMoved) {
  {
    LeasedChain first = Chain(1);
    LeasedChain moved = std::move(first);
    EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): what the header promises
    EXPECT_EQ(moved.size(), 1u);
    first = std::move(moved);
    EXPECT_THAT(owner_->ended, IsEmpty());
  }
  EXPECT_THAT(owner_->ended, ElementsAre(1));
}

TEST_F(BlockHandlesTest, WhatIsAssignedOverEnds) {
  LeasedChain chain = Chain(1);
  chain = Chain(2);
  EXPECT_THAT(owner_->ended, ElementsAre(1));
  chain = LeasedChain();
  EXPECT_THAT(owner_->ended, ElementsAre(1, 2));
}

TEST_F(BlockHandlesTest, AHandleKeepsItsOwnerAlive) {
  const std::weak_ptr<RecordingOwner> owner = owner_;
  LeasedChain chain = Chain(1);
  owner_.reset();
  EXPECT_FALSE(owner.expired());
  chain = LeasedChain();
  EXPECT_TRUE(owner.expired());
}

TEST_F(BlockHandlesTest, AWritableBlockIsHeaderAndPayload) {
  std::vector<std::byte> place(HeaderBytes(2) + 10);
  {
    WritableBlock block(HeldLease(owner_, 7), {.tokens = {1, 2}, .payload_bytes = 10}, place);
    EXPECT_EQ(block.header().size(), HeaderBytes(2));
    EXPECT_EQ(block.payload().data(), place.data() + HeaderBytes(2));
    EXPECT_EQ(block.payload().size(), 10u);
    WritableBlock moved = std::move(block);
    EXPECT_EQ(moved.num_tokens(), 2);
    const HeldLease taken = moved.TakeLease();
    EXPECT_EQ(taken.id(), 7u);
    EXPECT_THAT(owner_->ended, IsEmpty());
  }
  EXPECT_THAT(owner_->ended, ElementsAre(7));
}

}  // namespace
}  // namespace skv::kvstore
