// How seeks of sessions end that do not find all: no room, no time, too many.

#include <chrono>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/server/testing/session_tiers_fixture.h"

namespace skv::kvstore {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;

using SessionSeeksTest = SessionTiersFixture;

TEST_F(SessionSeeksTest, WithoutRoomTheSeekEndsAndIsNotRepeated) {
  const std::vector<Sentence> chain = MakeChain(1, 8);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  const ClientId other = Greet();
  int num_held = 0;  // all but three blocks' room
  for (const ClientId id : {writer, other}) {
    for (int i = 0; i < 18 && num_held < 27; ++i, ++num_held) {
      Keep(id, MakeSentence(100 + num_held));
    }
  }
  NumFound(reader, chain);
  WaitBy(reader, chain[7]);
  Settle();
  EXPECT_THAT(NoticeTo(reader).abandoned, ElementsAre(chain[7].item.key));
  EXPECT_EQ(Gauges().num_unplaced_seeks, 1u);
  EXPECT_EQ(NumFound(reader, chain), 3u);
  EXPECT_EQ(Gauges().num_seeks, 1u);
  EXPECT_EQ(Gauges().num_sought_keys, 0u);
}

TEST_F(SessionSeeksTest, WhatHadNoRoomIsSoughtAgainSoon) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  const ClientId other = Greet();
  for (int i = 0; i < 30; ++i) Keep(i < 18 ? writer : other, MakeSentence(100 + i));
  NumFound(reader, chain);
  Settle();
  EXPECT_EQ(Gauges().num_unplaced_seeks, 1u);
  handler_->Disconnect(other);
  EXPECT_EQ(NumFound(reader, chain), 0u);
  EXPECT_EQ(Gauges().num_seeks, 1u);
  Advance(seconds(1));
  NumFound(reader, chain);
  EXPECT_EQ(Gauges().num_seeks, 2u);
  Settle();
  EXPECT_EQ(NumFound(reader, chain), 3u);
}

TEST_F(SessionSeeksTest, ATierThatHangsIsNotWaitedForLongerThanASeekMayTake) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  NumFound(reader, chain);
  WaitBy(reader, chain[2]);
  EXPECT_EQ(handler_->NextDeadline(), now_ + seconds(5));
  Advance(milliseconds(4999));
  EXPECT_THAT(Hear(reader), IsEmpty());
  Advance(milliseconds(1));
  EXPECT_THAT(NoticeTo(reader).abandoned, ElementsAre(chain[2].item.key));
  EXPECT_EQ(Gauges().num_expired_seeks, 1u);
  EXPECT_EQ(handler_->NextDeadline(), now_ + seconds(10));  // the first is absent so long
  // It may be written, and the tier, when it comes to it at last, brings nothing.
  EXPECT_THAT(CreateAllBy(reader, chain), Each(CreateOutcome::kCreated));
  Settle();
  EXPECT_EQ(Gauges().num_found_entries, 0u);
}

TEST_F(SessionSeeksTest, ASeekThatEndsWhileATierAnswersChangesNothing) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  NumFound(reader, chain);
  nvme_.OnCall([this] { Advance(seconds(6)); });
  Settle();
  nvme_.OnCall(nullptr);
  EXPECT_EQ(NumFound(reader, chain), 0u);
  EXPECT_EQ(Gauges().num_expired_seeks, 1u);
  EXPECT_EQ(Gauges().num_found_entries, 0u);
  EXPECT_EQ(store_.gauges().index.num_entries, 0u);
}

TEST_F(SessionSeeksTest, WhatWasFoundOfAChainStaysUntilTheRestIs) {
  const std::vector<Sentence> chain = MakeChain(1, 12);  // a tier is asked for eight, then for all
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  const size_t num_calls = nvme_.num_calls();
  nvme_.OnCall([this] { Forget(); });
  NumFound(reader, chain);
  Settle();
  nvme_.OnCall(nullptr);
  EXPECT_EQ(nvme_.num_calls(), num_calls + 2);
  EXPECT_EQ(NumFound(reader, chain), 12u);
  ExpectNothingIsLeft();
}

TEST_F(SessionSeeksTest, ASeekThatEndsAfterItsFirstBlocksHoldsNothing) {
  const std::vector<Sentence> chain = MakeChain(1, 12);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  NumFound(reader, chain);
  nvme_.OnCall([this] {
    if (Gauges().num_found_entries > 0) Advance(seconds(6));
  });
  Settle();
  nvme_.OnCall(nullptr);
  EXPECT_EQ(Gauges().num_expired_seeks, 1u);
  EXPECT_EQ(Gauges().num_found_entries, 8u);
  ExpectNothingIsLeft();
}

TEST_F(SessionSeeksTest, ChainsAndKeysBeyondTheLimitsArePlainMisses) {
  Begin({.max_chains = 2, .max_keys = 5});
  const ClientId reader = Greet();
  NumFound(reader, MakeChain(1, 3));
  EXPECT_EQ(NumFound(reader, MakeChain(11, 3)), 0u);
  EXPECT_EQ(Gauges().num_refused_seeks, 1u);
  EXPECT_EQ(CreateBy(reader, MakeSentence(11)).outcome, CreateOutcome::kCreated);
  NumFound(reader, MakeChain(21, 2));
  NumFound(reader, MakeChain(31, 1));
  EXPECT_EQ(Gauges().num_refused_seeks, 2u);
  EXPECT_EQ(Gauges().num_sought_keys, 5u);
  EXPECT_EQ(Gauges().num_sought_chains, 2u);
}

TEST_F(SessionSeeksTest, AKeyTwiceInOneListIsSoughtOnce) {
  const std::vector<Sentence> chain = MakeChain(1, 2);
  const ClientId reader = Greet();
  NumFound(reader, {chain[0], chain[1], chain[0]});
  EXPECT_EQ(Gauges().num_sought_keys, 2u);
}

}  // namespace
}  // namespace skv::kvstore
