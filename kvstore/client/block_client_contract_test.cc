// What block_client.h promises, of every implementation.

#include <functional>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/block/block_header.h"
#include "kvstore/client/reconnecting_block_client.h"
#include "kvstore/client/testing/client_fixture.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Outcome = Creation::Outcome;
using Visibility = SealedBlock::Visibility;

struct Implementation {
  const char* name;
  std::function<std::unique_ptr<BlockClient>(ClientFixture*)> open;
};

std::unique_ptr<BlockClient> OpenSession(ClientFixture* fixture) {
  fixture->StartStore();
  return fixture->Connect();
}

std::unique_ptr<BlockClient> OpenReconnecting(ClientFixture* fixture) {
  auto client = std::make_unique<ReconnectingBlockClient>(
      [fixture] { return fixture->TryConnect(); }, [] { return ClientFixture::CreateLocal(); },
      ReconnectOptions());
  client->Poll(TimePoint());
  return client;
}

const Implementation kImplementations[] = {
    {"InProcess", [](ClientFixture*) { return ClientFixture::CreateLocal().value(); }},
    {"Session", OpenSession},
    {"ReconnectingConnected",
     [](ClientFixture* fixture) {
       fixture->StartStore();
       return OpenReconnecting(fixture);
     }},
    {"ReconnectingAlone", OpenReconnecting}};

class BlockClientContractTest : public testing::TestWithParam<Implementation> {
 protected:
  LeasedChain Get(const std::vector<PrefixKey>& keys) {
    absl::StatusOr<LeasedChain> chain = client_->Get(keys, Soon());
    EXPECT_OK(chain);
    return chain.ok() ? *std::move(chain) : LeasedChain();
  }
  absl::StatusOr<Outcome> Create(const NewSentence& sentence) {
    absl::StatusOr<Creation> creation = std::move(client_->Create({sentence}, Soon())[0]);
    if (!creation.ok()) return creation.status();
    return creation->outcome;
  }

  ClientFixture fixture_;
  std::unique_ptr<BlockClient> client_ = GetParam().open(&fixture_);
};

TEST_P(BlockClientContractTest, WhatIsSealedIsFoundByChainsThatBeginWithIt) {
  const TestChain chain = MakeChain(1, 3);
  for (const SealedBlock& sealed : Store(*client_, chain)) {
    EXPECT_EQ(sealed.visibility, Visibility::kVisible);
  }
  std::vector<PrefixKey> longer = chain.keys;
  longer.push_back(MakeChain(2, 1).keys[0]);
  const LeasedChain all = Get(longer);
  ASSERT_EQ(all.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(IsWhole(all.blocks()[i], chain.sentences[i]));
  EXPECT_EQ(Get({chain.keys[0], chain.keys[1]}).size(), 2u);
  EXPECT_EQ(Get({chain.keys[2]}).size(), 1u);
  EXPECT_TRUE(Get(MakeChain(2, 2).keys).empty());
  EXPECT_TRUE(Get({}).empty());
}

TEST_P(BlockClientContractTest, ABlockIsSeenOnceItIsSealedAndNotBefore) {
  const TestChain chain = MakeChain(1, 1, 100);
  std::vector<WritableBlock> blocks = Write(*client_, chain);
  ASSERT_EQ(blocks.size(), 1u);
  EXPECT_EQ(blocks[0].payload().size(), 100u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(blocks[0].payload().data()) % kBlockAlignment, 0u);
  EXPECT_TRUE(Get(chain.keys).empty());
  EXPECT_EQ(*Create(chain.sentences[0]), Outcome::kInProgress);
  const std::byte* const payload = blocks[0].payload().data();
  auto sealed = client_->Seal(std::move(blocks), false, Soon());
  ASSERT_OK(sealed[0]);
  EXPECT_EQ(sealed[0]->block.blocks()[0].payload.data(), payload);
  EXPECT_EQ(*Create(chain.sentences[0]), Outcome::kExists);
  EXPECT_EQ(Get(chain.keys).blocks()[0].payload.data(), payload);
}

TEST_P(BlockClientContractTest, ABlockThatIsDroppedUnsealedIsGivenUp) {
  const TestChain chain = MakeChain(1, 2);
  std::vector<WritableBlock> blocks = Write(*client_, chain);
  EXPECT_OK(client_->Wait(std::vector<PrefixKey>{chain.keys[0]}, Soon()));
  Sync(*client_);
  EXPECT_THAT(client_->TakeNotices().abandoned, IsEmpty());
  blocks.clear();
  Sync(*client_);
  EXPECT_THAT(client_->TakeNotices().abandoned, ElementsAre(chain.keys[0]));
  EXPECT_EQ(client_->gauges().num_leases, 0u);
  EXPECT_EQ(*Create(chain.sentences[0]), Outcome::kCreated);
}

TEST_P(BlockClientContractTest, WhoeverWaitsIsToldOnce) {
  const TestChain chain = MakeChain(1, 1), unknown = MakeChain(2, 1);
  std::vector<WritableBlock> blocks = Write(*client_, chain);
  EXPECT_OK(client_->Wait(chain.keys, Soon()));
  EXPECT_OK(client_->Wait(unknown.keys, Soon()));
  Sync(*client_);
  Notices notices = client_->TakeNotices();
  EXPECT_THAT(notices.sealed, IsEmpty());
  EXPECT_THAT(notices.abandoned, ElementsAre(unknown.keys[0]));
  const auto sealed = client_->Seal(std::move(blocks), true, Soon());
  Sync(*client_);
  notices = client_->TakeNotices();
  EXPECT_THAT(notices.sealed, ElementsAre(chain.keys[0]));
  EXPECT_THAT(notices.abandoned, IsEmpty());
  EXPECT_OK(client_->Wait(chain.keys, Soon()));
  Sync(*client_);
  EXPECT_THAT(client_->TakeNotices().sealed, ElementsAre(chain.keys[0]));
  EXPECT_THAT(client_->TakeNotices().sealed, IsEmpty());
}

TEST_P(BlockClientContractTest, AHitEndsBeforeADamagedBlock) {
  const TestChain chain = MakeChain(1, 3);
  std::byte* const second = BytesOf(Store(*client_, chain)[1].block.blocks()[0]);
  Sync(*client_);
  *second ^= std::byte{1};
  EXPECT_EQ(Get(chain.keys).size(), 1u);
  EXPECT_EQ(client_->gauges().num_corrupt_blocks, 1u);
  EXPECT_TRUE(Get({chain.keys[1], chain.keys[2]}).empty());
  EXPECT_EQ(client_->gauges().num_leases, 0u);
}

TEST_P(BlockClientContractTest, ADamagedBlockMayBeWrittenAnew) {
  const TestChain chain = MakeChain(1, 3);
  std::byte* const second = BytesOf(Store(*client_, chain)[1].block.blocks()[0]);
  Sync(*client_);
  *second ^= std::byte{1};
  EXPECT_EQ(Get(chain.keys).size(), 1u);
  Sync(*client_);
  Store(*client_, {{chain.sentences.begin() + 1, chain.sentences.end()},
                   {chain.keys.begin() + 1, chain.keys.end()}});
  Sync(*client_);
  EXPECT_EQ(Get(chain.keys).size(), 3u);
}

TEST_P(BlockClientContractTest, AHeaderThatIsDamagedIsAMissToo) {
  const TestChain chain = MakeChain(1, 1);
  std::byte* const payload = BytesOf(Store(*client_, chain)[0].block.blocks()[0]);
  Sync(*client_);
  *(payload - HeaderBytes(2) + 16) = std::byte{0xff};  // payload_bytes
  EXPECT_TRUE(Get(chain.keys).empty());
  EXPECT_EQ(client_->gauges().num_corrupt_blocks, 1u);
}

TEST_P(BlockClientContractTest, OnlyWhatIsNotHeldIsVerifiedAgain) {
  const TestChain chain = MakeChain(1, 2, 1000);
  std::vector<SealedBlock> written = Store(*client_, chain);
  LeasedChain first = Get(chain.keys);
  EXPECT_EQ(client_->gauges().num_verified_bytes, 0u);
  written.clear();
  LeasedChain second = Get(chain.keys);
  EXPECT_EQ(client_->gauges().num_verified_bytes, 0u);
  first = LeasedChain();
  second = LeasedChain();
  first = Get(chain.keys);
  EXPECT_EQ(client_->gauges().num_verified_bytes, 2000u);
  second = Get(chain.keys);
  EXPECT_EQ(client_->gauges().num_verified_bytes, 2000u);
  EXPECT_EQ(client_->gauges().num_leases, 2u);
}

TEST_P(BlockClientContractTest, WhatNobodyHoldsMakesRoom) {
  const uint64_t quarter = kTestArenaBytes / 4 - 1000;
  std::vector<SealedBlock> held = Store(*client_, MakeChain(1, 4, quarter));
  ASSERT_EQ(held.size(), 4u);
  const TestChain other = MakeChain(2, 1, quarter);
  EXPECT_THAT(Create(other.sentences[0]), StatusIs(StatusCode::kResourceExhausted, HasSubstr("")));
  EXPECT_GE(client_->gauges().num_failures, 1u);
  held.clear();
  EXPECT_EQ(client_->gauges().num_leases, 0u);
  EXPECT_EQ(*Create(other.sentences[0]), Outcome::kCreated);
}

TEST_P(BlockClientContractTest, OneBadSentenceDoesNotHarmTheOthers) {
  const TestChain chain = MakeChain(1, 1), orphan = MakeChain(2, 2);
  NewSentence empty = MakeChain(3, 1).sentences[0], no_payload = MakeChain(4, 1).sentences[0];
  empty.tokens.clear();
  no_payload.payload_bytes = 0;
  const auto creations =
      client_->Create({empty, orphan.sentences[1], no_payload, chain.sentences[0]}, Soon());
  ASSERT_EQ(creations.size(), 4u);
  EXPECT_THAT(creations[0], StatusIs(StatusCode::kInvalidArgument, HasSubstr("has 0 tokens")));
  EXPECT_THAT(creations[1], StatusIs(StatusCode::kNotFound, HasSubstr("")));
  EXPECT_THAT(creations[2],
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("payload_bytes is 0")));
  ASSERT_OK(creations[3]);
  EXPECT_EQ(creations[3]->outcome, Outcome::kCreated);
}

TEST_P(BlockClientContractTest, AKeyThatIsNotItsTokensIsRefusedWhenItIsSealed) {
  TestChain chain = MakeChain(1, 1);
  chain.sentences[0].key = MakeChain(2, 1).keys[0];
  const auto sealed = client_->Seal(Write(*client_, chain), true, Soon());
  ASSERT_EQ(sealed.size(), 1u);
  EXPECT_THAT(sealed[0], StatusIs(StatusCode::kInvalidArgument, HasSubstr("prefix key is")));
  EXPECT_EQ(client_->gauges().num_leases, 0u);
  EXPECT_EQ(*Create(MakeChain(2, 1).sentences[0]), Outcome::kCreated);
}

TEST_P(BlockClientContractTest, ListsMayBeLongerThanAFrame) {
  const TestChain chain = MakeChain(1, 2100);
  EXPECT_EQ(Store(*client_, chain).size(), 2100u);
  EXPECT_EQ(Get(chain.keys).size(), 2100u);
  EXPECT_EQ(client_->gauges().num_leases, 0u);
  const std::vector<PrefixKey> too_many(BlockClient::kMaxChainKeys + 1);
  EXPECT_THAT(client_->Get(too_many, Soon()),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("4001 keys")));
  EXPECT_THAT(client_->Wait(too_many, Soon()),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("4001 keys")));
}

TEST_P(BlockClientContractTest, HandlesOutliveTheirClient) {
  const TestChain chain = MakeChain(1, 2);
  std::vector<SealedBlock> sealed = Store(*client_, chain);
  std::vector<WritableBlock> written = Write(*client_, MakeChain(2, 1));
  client_.reset();
  fixture_.KillStore();
  EXPECT_TRUE(IsWhole(sealed[1].block.blocks()[0], chain.sentences[1]));
  written[0].payload()[0] = std::byte{7};
}

INSTANTIATE_TEST_SUITE_P(Implementations, BlockClientContractTest,
                         testing::ValuesIn(kImplementations),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace skv::kvstore
