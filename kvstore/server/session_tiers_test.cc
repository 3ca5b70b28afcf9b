// What sessions see of tiers: keys that the arena does not have are sought there while whoever
// asked waits, as for a writer.

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

using SessionTiersTest = SessionTiersFixture;

TEST_F(SessionTiersTest, WhatTheArenaLostIsFoundInATier) {
  const std::vector<Sentence> chain = MakeChain(1, 20);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  EXPECT_TRUE(nvme_.Has(KeyOf(chain[19])));
  EXPECT_TRUE(redis_.Has(KeyOf(chain[19])));

  EXPECT_EQ(GetBy(reader, chain), GetReply{});
  EXPECT_EQ(Gauges().num_sought_keys, 20u);
  EXPECT_THAT(CreateAllBy(reader, chain), Each(CreateOutcome::kInProgress));
  WaitBy(reader, chain[19]);
  EXPECT_THAT(later_, IsEmpty());
  Settle();
  EXPECT_EQ(NoticeTo(reader), (Notice{.sealed = {chain[19].item.key}}));
  EXPECT_EQ(NumFound(reader, chain), 20u);
  EXPECT_EQ(Gauges().num_found_entries, 20u);
  EXPECT_EQ(num_ended_, 1);
  ExpectNothingIsLeft();
  // It came from a tier, so it does not go there again.
  EXPECT_EQ(nvme_.gauges().num_written_blocks, 20u);
  EXPECT_EQ(redis_.gauges().num_written_blocks, 20u);
}

TEST_F(SessionTiersTest, WhatNoTierHasIsAbandonedAndNotSoughtAgainForAWhile) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId reader = Greet();
  EXPECT_EQ(NumFound(reader, chain), 0u);
  WaitBy(reader, chain[2]);
  Settle();
  EXPECT_EQ(NoticeTo(reader), (Notice{.abandoned = {chain[2].item.key}}));
  EXPECT_EQ(NumFound(reader, chain), 0u);
  ExpectNothingIsLeft();
  EXPECT_THAT(CreateAllBy(reader, chain), Each(CreateOutcome::kCreated));
  handler_->Disconnect(reader);

  const ClientId other = Greet();
  Advance(seconds(9));
  EXPECT_EQ(NumFound(other, chain), 0u);
  EXPECT_EQ(Gauges().num_seeks, 1u);
  Advance(seconds(2));
  EXPECT_EQ(NumFound(other, chain), 0u);
  EXPECT_EQ(Gauges().num_seeks, 2u);
  EXPECT_EQ(Gauges().num_absent_keys, 0u);
}

TEST_F(SessionTiersTest, OfAChainThatIsThereInPartTheRestIsAbandoned) {
  const std::vector<Sentence> chain = MakeChain(1, 15);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, {chain.begin(), chain.begin() + 11});
  EXPECT_EQ(NumFound(reader, chain), 0u);
  EXPECT_EQ(Ask<WaitReply>(reader, Wait{{chain[10].item.key, chain[14].item.key}}), WaitReply{});
  Settle();
  EXPECT_EQ(NoticeTo(reader),
            (Notice{.sealed = {chain[10].item.key}, .abandoned = {chain[14].item.key}}));
  EXPECT_EQ(NumFound(reader, chain), 11u);
  EXPECT_EQ(Gauges().num_seeks, 1u);  // the first that is missing is known to be absent
  EXPECT_EQ(CreateBy(reader, chain[11]).outcome, CreateOutcome::kCreated);
}

TEST_F(SessionTiersTest, WhatTheArenaHasIsTheParentOfWhatIsFound) {
  const std::vector<Sentence> chain = MakeChain(1, 6);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  Store(writer, {chain.begin(), chain.begin() + 2});
  EXPECT_EQ(NumFound(reader, chain), 2u);
  Settle();
  EXPECT_EQ(NumFound(reader, chain), 6u);
  // One chain in the arena: the last holds the first.
  const GetReply last = Ask<GetReply>(reader, Get{{chain[5].item.key}});
  Forget();
  EXPECT_EQ(store_.gauges().index.num_sealed, 6u);
  ReleaseBy(reader, last.lease);
}

TEST_F(SessionTiersTest, AKeyOfTheMiddleOfAChainFindsItsParentByItsBlock) {
  const std::vector<Sentence> chain = MakeChain(1, 4);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  Store(writer, {chain.begin(), chain.begin() + 2});
  const std::vector<Sentence> rest = {chain.begin() + 2, chain.end()};
  EXPECT_EQ(NumFound(reader, rest), 0u);
  Settle();
  EXPECT_EQ(NumFound(reader, chain), 4u);
}

// As such it would stay in the way of its own chain.
TEST_F(SessionTiersTest, AKeyOfTheMiddleOfAChainIsNotTheFirstOfAnother) {
  const std::vector<Sentence> chain = MakeChain(1, 4);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  const std::vector<Sentence> rest = {chain.begin() + 2, chain.end()};
  EXPECT_EQ(NumFound(reader, rest), 0u);
  Settle();
  EXPECT_EQ(NumFound(reader, rest), 0u);
  EXPECT_EQ(Gauges().num_unplaced_seeks, 1u);
  EXPECT_EQ(NumFound(reader, chain), 0u);
  Settle();
  EXPECT_EQ(NumFound(reader, chain), 4u);
  ExpectNothingIsLeft();
}

TEST_F(SessionTiersTest, TheNextTierIsAskedForWhatOneDoesNotHaveAndTheFirstGetsIt) {
  const std::vector<Sentence> chain = MakeChain(1, 4);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  nvme_.Lose(KeyOf(chain[1]));
  nvme_.Lose(KeyOf(chain[3]));
  NumFound(reader, chain);
  WaitBy(reader, chain[3]);
  Settle();
  EXPECT_THAT(NoticeTo(reader).sealed, ElementsAre(chain[3].item.key));
  EXPECT_EQ(NumFound(reader, chain), 4u);
  EXPECT_TRUE(nvme_.Has(KeyOf(chain[1])));
  EXPECT_TRUE(nvme_.Has(KeyOf(chain[3])));
  EXPECT_EQ(redis_.gauges().num_written_blocks, 4u);
  EXPECT_EQ(num_ended_, 1);
  ExpectNothingIsLeft();
}

TEST_F(SessionTiersTest, TwoWhoAskForOneChainWaitForOneSeek) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const Sentence other = MakeSentence(9, &chain[1]);
  const ClientId writer = Greet(), first = Greet(), second = Greet();
  Demote(writer, chain);
  NumFound(first, chain);
  EXPECT_EQ(NumFound(second, {chain[0], chain[1], other}), 0u);
  EXPECT_EQ(Gauges().num_seeks, 1u);
  EXPECT_THAT(
      CreateAllBy(second, {chain[0], chain[1], other}),
      ElementsAre(CreateOutcome::kInProgress, CreateOutcome::kInProgress, CreateOutcome::kFailed));
  WaitBy(first, chain[2]);
  WaitBy(second, chain[1]);
  handler_->Disconnect(first);  // what it asked for is of use to others
  Settle();
  EXPECT_EQ(NoticeTo(second), (Notice{.sealed = {chain[1].item.key}}));
  EXPECT_EQ(NumFound(second, {chain[0], chain[1], other}), 2u);
  EXPECT_EQ(Gauges().num_seeks, 2u);  // for the one that the first did not ask for
  Settle();
  ExpectNothingIsLeft();
}

TEST_F(SessionTiersTest, WhatSomeoneWritesIsNotSought) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId writer = Greet(), reader = Greet();
  Store(writer, {chain[0]});
  const CreateReplyItem created = CreateBy(writer, chain[1]);
  EXPECT_EQ(NumFound(reader, chain), 1u);
  EXPECT_EQ(Gauges().num_seeks, 0u);
  WaitBy(reader, chain[1]);
  Write(chain[1], created.range);
  SealBy(writer, created.lease);
  EXPECT_THAT(NoticeTo(reader).sealed, ElementsAre(chain[1].item.key));
}

TEST_F(SessionTiersTest, ABlockIsNotFoundBelowAParentThatIsNotItsOwn) {
  const std::vector<Sentence> chain = MakeChain(1, 2), other = MakeChain(11, 1);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  Demote(writer, other);
  NumFound(reader, {other[0], chain[1]});
  WaitBy(reader, chain[1]);
  Settle();
  EXPECT_THAT(NoticeTo(reader).abandoned, ElementsAre(chain[1].item.key));
  EXPECT_EQ(movers_[0]->gauges().num_found_entries, 1u);
  EXPECT_EQ(Gauges().num_unplaced_seeks, 0u);
  ExpectNothingIsLeft();
}

TEST_F(SessionTiersTest, ATierThatDoesNotAnswerIsNotAsked) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  redis_inbox_.SetOn(false);
  nvme_inbox_.SetBusySince(now_);
  Advance(seconds(3));
  EXPECT_EQ(NumFound(reader, chain), 0u);
  EXPECT_EQ(Gauges().num_seeks, 0u);
  EXPECT_EQ(CreateBy(reader, chain[0]).outcome, CreateOutcome::kCreated);
}

TEST_F(SessionTiersTest, WithAllTiersOffNothingIsSought) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId writer = Greet(), reader = Greet();
  nvme_.SetOn(false);
  redis_.SetOn(false);
  Store(writer, chain);
  Settle();
  Forget();
  EXPECT_EQ(NumFound(reader, chain), 0u);
  EXPECT_EQ(Gauges().num_seeks, 0u);
}

TEST_F(SessionTiersTest, AFailedReadGoesToTheNextTier) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  nvme_.SetOn(false);
  NumFound(reader, chain);
  WaitBy(reader, chain[2]);
  Settle();
  EXPECT_THAT(NoticeTo(reader).sealed, ElementsAre(chain[2].item.key));
  EXPECT_EQ(NumFound(reader, chain), 3u);
}

TEST_F(SessionTiersTest, WritesThatATierIsNotThereForAreDoneLater) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId writer = Greet();
  nvme_.SetOn(false);
  Store(writer, chain);
  Settle();
  EXPECT_TRUE(redis_.Has(KeyOf(chain[2])));
  EXPECT_EQ(nvme_inbox_.gauges().num_writes, 3u);
  nvme_.SetOn(true);
  Settle();
  EXPECT_FALSE(nvme_.Has(KeyOf(chain[2])));  // not before the time to try again
  Advance(milliseconds(251));
  Settle();
  EXPECT_TRUE(nvme_.Has(KeyOf(chain[0])));
  EXPECT_TRUE(nvme_.Has(KeyOf(chain[2])));
  ExpectNothingIsLeft();
}

TEST_F(SessionTiersTest, WritesThatATierIsBehindWithAreDoneLater) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId writer = Greet();
  nvme_.SetBehind(true);
  Store(writer, chain);
  const size_t num_calls = nvme_.num_calls();
  Settle();
  EXPECT_EQ(nvme_.num_calls(), num_calls + 1) << "it is left alone for a while";
  EXPECT_EQ(nvme_inbox_.gauges().num_writes, 3u);
  EXPECT_EQ(movers_[0]->gauges().num_failed_writes, 0u);
  nvme_.SetBehind(false);
  Advance(milliseconds(251));
  Settle();
  EXPECT_EQ(movers_[0]->gauges().num_written_entries, 3u);
  EXPECT_TRUE(nvme_.Has(KeyOf(chain[0])));
  EXPECT_TRUE(nvme_.Has(KeyOf(chain[2])));
  ExpectNothingIsLeft();
}

TEST_F(SessionTiersTest, AFullTierDropsWhatItIsGiven) {
  const ClientId writer = Greet();
  nvme_.SetFull(true);
  Store(writer, MakeChain(1, 3));
  Settle();
  EXPECT_EQ(nvme_inbox_.gauges().num_writes, 0u);
  EXPECT_EQ(movers_[0]->gauges().num_failed_writes, 3u);
  EXPECT_EQ(movers_[1]->gauges().num_written_entries, 3u);
  ExpectNothingIsLeft();
}

TEST_F(SessionTiersTest, AStoppingStoreEndsNothingAndHarmsNothing) {
  const std::vector<Sentence> chain = MakeChain(1, 2);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  Store(writer, {MakeSentence(7)});
  NumFound(reader, chain);
  owner_->Stop();
  Settle();
  for (const auto& mover : movers_) {
    mover->Stop();
    EXPECT_FALSE(mover->Step(clock_.Now()));
  }
}

}  // namespace
}  // namespace skv::kvstore
