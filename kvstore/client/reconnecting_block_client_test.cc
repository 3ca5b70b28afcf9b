#include "kvstore/client/reconnecting_block_client.h"

#include <array>
#include <utility>

#include "common/testing/fake_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/client/testing/client_fixture.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;
using Outcome = Creation::Outcome;
using Visibility = SealedBlock::Visibility;

class ReconnectingBlockClientTest : public testing::Test {
 protected:
  bool IsConnected() const { return client_.reconnect_gauges().is_connected; }
  uint64_t NumFailed() const { return client_.reconnect_gauges().num_failed_attempts; }
  void PollAfter(int ms) {
    clock_.Advance(milliseconds(ms));
    client_.Poll(clock_.Now());
  }
  // The first Poll after a loss only says when to try.
  void ConnectToStore() {
    fixture_.StartStore();
    PollAfter(10000);
    PollAfter(10000);
    ASSERT_TRUE(IsConnected());
  }
  size_t NumFound(const TestChain& chain) { return client_.Get(chain.keys, Soon())->size(); }

  ClientFixture fixture_;
  FakeClock clock_;
  absl::Status local_error_;
  ReconnectingBlockClient client_{
      [this] { return fixture_.TryConnect(); },
      [this]() -> absl::StatusOr<std::unique_ptr<BlockClient>> {
        if (!local_error_.ok()) return local_error_;
        return ClientFixture::CreateLocal();
      },
      {.first_pause = milliseconds(100), .max_pause = milliseconds(400)}};
};

TEST_F(ReconnectingBlockClientTest, TriesAtOnceAndThenMoreAndMoreRarely) {
  client_.Poll(clock_.Now());
  EXPECT_EQ(NumFailed(), 1u);
  const struct {
    int ms;
    uint64_t num_failed;
  } kSteps[] = {{99, 1}, {1, 2}, {199, 2}, {1, 3}, {399, 3}, {1, 4}, {399, 4}, {1, 5}};
  for (const auto& step : kSteps) {
    PollAfter(step.ms);
    EXPECT_EQ(NumFailed(), step.num_failed);
  }
  EXPECT_FALSE(IsConnected());
  fixture_.StartStore();
  PollAfter(399);
  EXPECT_FALSE(IsConnected());
  PollAfter(1);
  EXPECT_TRUE(IsConnected());
  EXPECT_TRUE(client_.gauges().is_shared);
}

TEST_F(ReconnectingBlockClientTest, SaysWhichStoreItUses) {
  using Epoch = std::array<uint8_t, 16>;
  EXPECT_EQ(client_.gauges().store_epoch, Epoch{});
  ConnectToStore();
  EXPECT_EQ(client_.gauges().store_epoch, Epoch{1});
  fixture_.StartStore();  // another one
  PollAfter(0);
  EXPECT_FALSE(IsConnected());
  EXPECT_EQ(client_.gauges().store_epoch, Epoch{});
  PollAfter(100);
  EXPECT_TRUE(IsConnected());
  EXPECT_EQ(client_.gauges().store_epoch, Epoch{2});
}

TEST_F(ReconnectingBlockClientTest, GoesOnInThisProcessWhileThereIsNoStore) {
  client_.Poll(clock_.Now());
  const TestChain chain = MakeChain(1, 2);
  EXPECT_EQ(Store(client_, chain)[1].visibility, Visibility::kVisible);
  EXPECT_EQ(NumFound(chain), 2u);
  EXPECT_FALSE(client_.gauges().is_shared);
  fixture_.StartStore();
  PollAfter(100);
  ASSERT_TRUE(IsConnected());
  EXPECT_EQ(NumFound(chain), 0u);
  EXPECT_EQ(client_.reconnect_gauges().num_retired, 1u);
  client_.Poll(clock_.Now());
  EXPECT_EQ(client_.reconnect_gauges().num_retired, 0u);
}

TEST_F(ReconnectingBlockClientTest, ACallThatFindsTheStoreDeadIsRepeatedHere) {
  ConnectToStore();
  const TestChain chain = MakeChain(1, 2);
  const std::vector<SealedBlock> held = Store(client_, chain);
  fixture_.KillStore();
  EXPECT_EQ(NumFound(chain), 0u);
  EXPECT_FALSE(IsConnected());
  EXPECT_EQ(client_.reconnect_gauges().num_losses, 1u);
  EXPECT_TRUE(IsWhole(held[1].block.blocks()[0], chain.sentences[1]));
  EXPECT_EQ(client_.gauges().num_leases, 2u);
  EXPECT_EQ(Store(client_, chain)[1].visibility, Visibility::kVisible);
  EXPECT_EQ(NumFound(chain), 2u);
}

TEST_F(ReconnectingBlockClientTest, CreateAndWaitAreRepeatedToo) {
  ConnectToStore();
  fixture_.KillStore();
  const TestChain chain = MakeChain(1, 2);
  std::vector<WritableBlock> blocks = Write(client_, chain);
  EXPECT_EQ(blocks.size(), 2u);
  ConnectToStore();
  fixture_.KillStore();
  EXPECT_OK(client_.Wait(chain.keys, Soon()));
  EXPECT_THAT(client_.TakeNotices().abandoned, ElementsAre(chain.keys[0], chain.keys[1]));
  EXPECT_EQ(client_.reconnect_gauges().num_losses, 2u);
  EXPECT_OK(client_.Flush(Soon()));
}

TEST_F(ReconnectingBlockClientTest, AChainOfALostStoreCannotGoOn) {
  ConnectToStore();
  const TestChain chain = MakeChain(1, 2);
  auto first = client_.Create({chain.sentences[0]}, Soon());
  fixture_.KillStore();
  EXPECT_THAT(client_.Create({chain.sentences[1]}, Soon())[0],
              StatusIs(StatusCode::kNotFound, HasSubstr("parent is not there")));
}

TEST_F(ReconnectingBlockClientTest, BlocksBeingWrittenBecomePrivateAndStayReadable) {
  ConnectToStore();
  const TestChain chain = MakeChain(1, 2);
  std::vector<WritableBlock> blocks = Write(client_, chain);
  fixture_.KillStore();
  const auto check = [&chain](const std::vector<absl::StatusOr<SealedBlock>>& sealed) {
    for (size_t i = 0; i < sealed.size(); ++i) {
      ASSERT_OK(sealed[i]);
      EXPECT_EQ(sealed[i]->visibility, Visibility::kPrivate);
      EXPECT_TRUE(IsWhole(sealed[i]->block.blocks()[0], chain.sentences[i]));
    }
  };
  check(client_.Seal(std::move(blocks), true, Soon()));
  blocks = Write(client_, chain);  // here
  ASSERT_EQ(blocks.size(), 2u);
  ConnectToStore();
  check(client_.Seal(std::move(blocks), true, Soon()));
}

TEST_F(ReconnectingBlockClientTest, PollSeesALossAndWaitersAreTold) {
  ConnectToStore();
  const TestChain chain = MakeChain(1, 2);
  const std::vector<WritableBlock> blocks = Write(client_, chain);
  EXPECT_OK(client_.Wait(chain.keys, Soon()));
  fixture_.KillStore();
  PollAfter(1);
  EXPECT_FALSE(IsConnected());
  EXPECT_THAT(client_.TakeNotices().abandoned, UnorderedElementsAre(chain.keys[0], chain.keys[1]));
  fixture_.StartStore();
  PollAfter(99);
  EXPECT_FALSE(IsConnected());
  PollAfter(1);
  EXPECT_TRUE(IsConnected());
}

TEST_F(ReconnectingBlockClientTest, WaitersOnTheStoreInThisProcessAreToldWhenItIsLeft) {
  const TestChain chain = MakeChain(1, 1);
  const std::vector<WritableBlock> blocks = Write(client_, chain);
  EXPECT_OK(client_.Wait(chain.keys, Soon()));
  ConnectToStore();
  EXPECT_THAT(client_.TakeNotices().abandoned, ElementsAre(chain.keys[0]));
}

TEST_F(ReconnectingBlockClientTest, CountsSurviveTheirClientsAndLeasesAreCountedEverywhere) {
  ConnectToStore();
  std::vector<SealedBlock> held = Store(client_, MakeChain(1, 2));
  const uint64_t num_requests = client_.gauges().num_requests;
  fixture_.KillStore();
  PollAfter(1);
  EXPECT_EQ(client_.gauges().num_leases, 2u);
  EXPECT_EQ(client_.gauges().mapped_bytes, kTestArenaBytes);
  held.clear();
  PollAfter(1);
  EXPECT_EQ(client_.gauges().num_leases, 0u);
  EXPECT_EQ(client_.gauges().mapped_bytes, 0u);
  EXPECT_EQ(client_.gauges().num_requests, num_requests);
  EXPECT_EQ(client_.gauges().num_failures, 1u);
}

// As while a host is brought up to date: the store refuses the Hello, and the worker goes on alone.
TEST_F(ReconnectingBlockClientTest, AStoreOfAnotherVersionLeavesItToItsOwnMemory) {
  fixture_.StartStore().set_tamper([](Frame* frame) {
    frame->body = ErrorOf(absl::InvalidArgumentError("hello: version is 3, expected 2 to 2"));
    return FakeKvstore::Act::kSend;
  });
  PollAfter(10000);
  PollAfter(10000);
  EXPECT_FALSE(IsConnected());
  EXPECT_EQ(NumFailed(), 2u);
  EXPECT_EQ(client_.reconnect_gauges().num_losses, 0u);
  const TestChain chain = MakeChain(1, 2);
  EXPECT_EQ(Store(client_, chain)[1].visibility, Visibility::kVisible);
  EXPECT_EQ(NumFound(chain), 2u);
  ConnectToStore();  // of this version
}

TEST_F(ReconnectingBlockClientTest, WithoutAnyStoreCallsSayWhy) {
  local_error_ = absl::ResourceExhaustedError("no memory");
  const TestChain chain = MakeChain(1, 2);
  const auto no_memory = StatusIs(StatusCode::kResourceExhausted, HasSubstr("no memory"));
  EXPECT_THAT(client_.Get(chain.keys, Soon()), no_memory);
  EXPECT_THAT(client_.Wait(chain.keys, Soon()), no_memory);
  const auto creations = client_.Create(chain.sentences, Soon());
  ASSERT_EQ(creations.size(), 2u);
  EXPECT_THAT(creations[1], no_memory);
}

}  // namespace
}  // namespace skv::kvstore
