// What sessions see of tiers: keys that the arena does not have are sought there while whoever
// asked waits, as for a writer. One thread; time and tiers do what the test says.

#include <memory>
#include <string>
#include <vector>

#include "common/testing/fake_clock.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/server/testing/sentences.h"
#include "kvstore/server/testing/session_handler_fixture.h"
#include "kvstore/tier/testing/fake_tier.h"
#include "kvstore/tiering/scrubber.h"
#include "kvstore/tiering/testing/inline_owner.h"
#include "kvstore/tiering/tier_mover.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

Hello HelloOfRank(uint32_t rank, uint32_t world_size) {
  Hello hello = TestHello();
  hello.rank = rank;
  hello.world_size = world_size;
  return hello;
}

class SessionTiersTest : public SessionHandlerFixture {
 protected:
  explicit SessionTiersTest(int num_blocks = 30)
      : SessionHandlerFixture(num_blocks, /*num_own_sessions=*/2) {
    options_.max_waits_per_session = 100;
    clock_.Advance(seconds(1));
    Advance(seconds(0));
    Begin({});
  }
  void Begin(const SoughtLimits& limits) {
    TierDeskOptions options;
    options.limits = limits;
    options.on_seek_end = [this](Duration) { ++num_ended_; };
    options.on_report = [this](absl::Span<const EntryKey> keys) { scrubber_->Report(keys); };
    desk_ = std::make_unique<TierDesk>(options, &store_, arena_,
                                       std::vector<TierInbox*>{&nvme_inbox_, &redis_inbox_});
    options_.tiers = desk_.get();
    CreateHandler();
    owner_ = std::make_unique<InlineOwner>(desk_.get(), [this] { handler_->TellNews(); });
    scrubber_ = std::make_unique<Scrubber>(
        ScrubberOptions{.bytes_per_second = 10'000, .max_reports = 10}, owner_.get(), &clock_);
    movers_.clear();
    for (size_t i = 0; i < 2; ++i) {
      movers_.push_back(std::make_unique<TierMover>(
          TierMoverOptions(), i == 0 ? &nvme_ : &redis_,
          std::vector<TierInbox*>{&nvme_inbox_, &redis_inbox_}, i, owner_.get(), &clock_));
    }
  }
  void Advance(Duration by) {
    clock_.Advance(by);
    now_ = clock_.Now();
    if (handler_ != nullptr) handler_->Expire(now_);
  }
  // Tiers do all that there is to do now.
  void Settle() {
    for (int i = 0; i < 10; ++i) {
      for (const auto& mover : movers_) ASSERT_TRUE(mover->Step(clock_.Now()));
    }
  }
  // Sealed and released, one after the other.
  void Store(ClientId id, const std::vector<Sentence>& chain, const Hello& hello = TestHello()) {
    for (const Sentence& sentence : chain) {
      const CreateReplyItem created = CreateBy(id, sentence);
      ASSERT_EQ(created.outcome, CreateOutcome::kCreated);
      Write(sentence, created.range, hello);
      ASSERT_EQ(SealBy(id, created.lease).code, StatusCode::kOk);
      ASSERT_EQ(ReleaseBy(id, created.lease), StatusCode::kOk);
    }
  }
  // The same by the two ranks of a group, each of which has bytes of its own.
  void StoreByRanks(const ClientId (&ranks)[2], const std::vector<Sentence>& chain) {
    for (size_t i = 0; i < chain.size(); ++i) {
      LeaseHandle leases[2] = {};
      for (uint32_t rank = 0; rank < 2; ++rank) {
        const CreateReplyItem created = CreateBy(ranks[rank], chain[i]);
        Sentence sentence = chain[i];
        sentence.fill = FillOf(rank, i);
        Write(sentence, created.range, HelloOfRank(rank, 2));
        leases[rank] = created.lease;
        EXPECT_EQ(SealBy(ranks[rank], created.lease).is_visible, rank == 1);
      }
      for (int rank = 0; rank < 2; ++rank) ReleaseBy(ranks[rank], leases[rank]);
    }
  }
  static std::byte FillOf(uint32_t rank, size_t i) {
    return static_cast<std::byte>(100 * rank + i);
  }
  // The arena forgets all that nobody holds.
  void Forget() {
    while (!store_.Purge(std::nullopt, 100, now_).is_done) {
    }
    handler_->TellNews();
  }
  // What the tiers have, and the arena does not.
  void Demote(ClientId id, const std::vector<Sentence>& chain) {
    Store(id, chain);
    Settle();
    Forget();
  }
  GetReply GetBy(ClientId id, const std::vector<Sentence>& chain) {
    return Ask<GetReply>(id, Get{KeysOf(chain)});
  }
  std::vector<CreateOutcome> CreateAllBy(ClientId id, const std::vector<Sentence>& chain) {
    Create request;
    for (const Sentence& sentence : chain) request.items.push_back(sentence.item);
    std::vector<CreateOutcome> outcomes;
    for (const auto& item : Ask<CreateReply>(id, request).items) outcomes.push_back(item.outcome);
    return outcomes;
  }
  void WaitBy(ClientId id, const Sentence& sentence) {
    ASSERT_EQ(Ask<WaitReply>(id, Wait{{sentence.item.key}}), WaitReply{});
  }
  // How many of the chain the client finds, all whole; it holds none of them then.
  size_t NumFound(ClientId id, const std::vector<Sentence>& chain,
                  const Hello& hello = TestHello()) {
    const GetReply reply = GetBy(id, chain);
    for (size_t i = 0; i < reply.blocks.size(); ++i) {
      const ArenaRange& range = reply.blocks[i];
      EXPECT_TRUE(
          IsIntact(chain[i], hello, std::span(arena_).subspan(range.offset, range.num_bytes)));
    }
    if (!reply.blocks.empty()) ReleaseBy(id, reply.lease);
    return reply.blocks.size();
  }
  static TierKey KeyOf(const Sentence& sentence, uint32_t rank = 0) {
    return {{sentence.item.key, TestHello().layout}, rank};
  }
  TierDeskGauges Gauges() const { return desk_->gauges(); }
  void ExpectNothingIsLeft() {
    EXPECT_EQ(Gauges().num_sought_keys, 0u);
    EXPECT_EQ(Gauges().num_sought_chains, 0u);
    EXPECT_EQ(store_.gauges().index.num_leases, 0u);
  }

  FakeClock clock_;
  FakeTier nvme_{"nvme"}, redis_{"redis"};
  TierInbox nvme_inbox_{{.max_writes = 30}}, redis_inbox_{{.max_writes = 30}};
  std::unique_ptr<TierDesk> desk_;
  std::unique_ptr<InlineOwner> owner_;
  std::vector<std::unique_ptr<TierMover>> movers_;
  std::unique_ptr<Scrubber> scrubber_;
  int num_ended_ = 0;
};

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

TEST_F(SessionTiersTest, ADamagedBlockIsErasedAndTheNextTierAsked) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  ASSERT_TRUE(nvme_.Damage(KeyOf(chain[1])));
  NumFound(reader, chain);
  Settle();
  EXPECT_EQ(movers_[0]->gauges().num_corrupt_blocks, 1u);
  EXPECT_EQ(NumFound(reader, chain), 3u);
  // Written anew, by what the other had.
  Forget();
  redis_.SetOn(false);
  NumFound(reader, chain);
  Settle();
  EXPECT_EQ(NumFound(reader, chain), 3u);
}

TEST_F(SessionTiersTest, ABlockThatTheTierItselfFindsDamagedIsCountedAndTheNextTierAsked) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  nvme_.MakeUnreadable(KeyOf(chain[1]));
  NumFound(reader, chain);
  Settle();
  EXPECT_EQ(movers_[0]->gauges().num_corrupt_blocks, 1u);
  EXPECT_EQ(NumFound(reader, chain), 3u);
}

TEST_F(SessionTiersTest, WhatIsDamagedEverywhereIsNotThere) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  ASSERT_TRUE(nvme_.Damage(KeyOf(chain[1])));
  redis_.Swap(KeyOf(chain[1]), KeyOf(chain[2]));  // whole, but others
  NumFound(reader, chain);
  WaitBy(reader, chain[2]);
  Settle();
  EXPECT_EQ(NoticeTo(reader), (Notice{.abandoned = {chain[2].item.key}}));
  EXPECT_EQ(NumFound(reader, chain), 1u);
  EXPECT_FALSE(nvme_.Has(KeyOf(chain[1])));
  EXPECT_FALSE(redis_.Has(KeyOf(chain[1])));
  EXPECT_EQ(CreateBy(reader, chain[1]).outcome, CreateOutcome::kCreated);
}

TEST_F(SessionTiersTest, AnEntryIsFoundWithAllRanksOrNotAtAll) {
  const ClientId ranks[] = {Greet(HelloOfRank(0, 2)), Greet(HelloOfRank(1, 2))};
  const std::vector<Sentence> chain = MakeChain(1, 3);
  StoreByRanks(ranks, chain);
  Settle();
  Forget();
  for (FakeTier* tier : {&nvme_, &redis_}) {
    EXPECT_TRUE(tier->Has(KeyOf(chain[2], 0)));
    tier->Lose(KeyOf(chain[2], 1));
  }
  EXPECT_EQ(GetBy(ranks[0], chain), GetReply{});
  EXPECT_EQ(GetBy(ranks[1], chain), GetReply{});
  EXPECT_EQ(Gauges().num_seeks, 1u);
  WaitBy(ranks[0], chain[2]);
  WaitBy(ranks[1], chain[2]);
  Settle();
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_THAT(NoticeTo(ranks[rank]).abandoned, ElementsAre(chain[2].item.key));
    const GetReply reply = GetBy(ranks[rank], chain);
    ASSERT_THAT(reply.blocks, SizeIs(2));
    const auto place = std::span(arena_).subspan(reply.blocks[1].offset, reply.blocks[1].num_bytes);
    const auto block = ParseBlock(place, "block");
    ASSERT_OK(block);
    EXPECT_EQ(block->header.id.rank, rank);
    EXPECT_EQ(block->payload.front(), FillOf(rank, 1));
    ReleaseBy(ranks[rank], reply.lease);
  }
}

TEST_F(SessionTiersTest, WhereATierLacksARankTheNextOneIsAsked) {
  const ClientId ranks[] = {Greet(HelloOfRank(0, 2)), Greet(HelloOfRank(1, 2))};
  const std::vector<Sentence> chain = MakeChain(1, 3);
  StoreByRanks(ranks, chain);
  Settle();
  Forget();
  nvme_.Lose(KeyOf(chain[1], 1));
  GetBy(ranks[0], chain);
  WaitBy(ranks[0], chain[2]);
  Settle();
  EXPECT_THAT(NoticeTo(ranks[0]).sealed, ElementsAre(chain[2].item.key));
  EXPECT_EQ(movers_[0]->gauges().num_found_entries, 1u);
  EXPECT_EQ(movers_[1]->gauges().num_found_entries, 2u);
  ExpectNothingIsLeft();
}

TEST_F(SessionTiersTest, ABlockOfAnotherRankIsErased) {
  const ClientId ranks[] = {Greet(HelloOfRank(0, 2)), Greet(HelloOfRank(1, 2))};
  const std::vector<Sentence> chain = MakeChain(1, 1);
  StoreByRanks(ranks, chain);
  Settle();
  Forget();
  for (FakeTier* tier : {&nvme_, &redis_}) tier->Swap(KeyOf(chain[0], 0), KeyOf(chain[0], 1));
  GetBy(ranks[0], chain);
  WaitBy(ranks[0], chain[0]);
  Settle();
  EXPECT_THAT(NoticeTo(ranks[0]).abandoned, ElementsAre(chain[0].item.key));
  EXPECT_EQ(movers_[0]->gauges().num_corrupt_blocks, 2u);
  EXPECT_EQ(nvme_.gauges().num_blocks, 0u);
  EXPECT_EQ(redis_.gauges().num_blocks, 0u);
}

TEST_F(SessionTiersTest, WithRoomForOneOfTwoRanksNothingStaysPlaced) {
  const ClientId ranks[] = {Greet(HelloOfRank(0, 2)), Greet(HelloOfRank(1, 2))};
  const std::vector<Sentence> chain = MakeChain(1, 1);
  StoreByRanks(ranks, chain);
  Settle();
  Forget();
  for (int i = 0; i < 29; ++i) {  // of 30
    const CreateReplyItem created = CreateBy(ranks[i % 2], MakeSentence(100 + i / 2));
    ASSERT_EQ(created.outcome, CreateOutcome::kCreated);
  }
  GetBy(ranks[0], chain);
  WaitBy(ranks[0], chain[0]);
  Settle();
  EXPECT_THAT(NoticeTo(ranks[0]).abandoned, ElementsAre(chain[0].item.key));
  EXPECT_EQ(Gauges().num_unplaced_seeks, 1u);
  EXPECT_EQ(store_.gauges().index.num_leases, 29u);
  EXPECT_EQ(store_.gauges().num_blocks, 29u);
}

TEST_F(SessionTiersTest, BlocksOfAnotherWorldSizeAreNotThere) {
  const std::vector<Sentence> chain = MakeChain(1, 1);
  Demote(Greet(), chain);
  const ClientId rank0 = Greet(HelloOfRank(0, 2));
  EXPECT_EQ(GetBy(rank0, chain), GetReply{});
  WaitBy(rank0, chain[0]);
  Settle();
  EXPECT_THAT(NoticeTo(rank0).abandoned, ElementsAre(chain[0].item.key));
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

TEST_F(SessionTiersTest, WithoutRoomTheSeekEndsAndIsNotRepeated) {
  const std::vector<Sentence> chain = MakeChain(1, 8);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  std::vector<LeaseHandle> leases;  // all but three blocks' room, held
  for (int i = 0; i < 27; ++i) leases.push_back(LeaseHandle::kNone);
  const ClientId other = Greet();
  int num_held = 0;
  for (const ClientId id : {writer, other}) {
    for (int i = 0; i < 18 && num_held < 27; ++i, ++num_held) {
      leases[num_held] = Keep(id, MakeSentence(100 + num_held));
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

TEST_F(SessionTiersTest, ATierThatHangsIsNotWaitedForLongerThanASeekMayTake) {
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

TEST_F(SessionTiersTest, ASeekThatEndsWhileATierAnswersChangesNothing) {
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

TEST_F(SessionTiersTest, WhatWasFoundOfAChainStaysUntilTheRestIs) {
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

TEST_F(SessionTiersTest, ASeekThatEndsAfterItsFirstBlocksHoldsNothing) {
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

TEST_F(SessionTiersTest, ABlockDamagedInTheArenaIsDroppedAndNotWritten) {
  const ClientId writer = Greet();
  const Sentence sentence = MakeSentence(1);
  const CreateReplyItem created = CreateBy(writer, sentence);
  Write(sentence, created.range);
  SealBy(writer, created.lease);
  ReleaseBy(writer, created.lease);
  arena_[created.range.offset + HeaderBytes(1) + 5] ^= std::byte{1};
  Settle();
  EXPECT_FALSE(nvme_.Has(KeyOf(sentence)));
  EXPECT_EQ(movers_[0]->gauges().num_damaged_entries, 1u);
  EXPECT_EQ(NumFound(writer, {sentence}), 0u);
  Settle();  // it was sought, in vain
  EXPECT_EQ(CreateBy(writer, sentence).outcome, CreateOutcome::kCreated);
}

TEST_F(SessionTiersTest, ChainsAndKeysBeyondTheLimitsArePlainMisses) {
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

TEST_F(SessionTiersTest, AKeyTwiceInOneListIsSoughtOnce) {
  const std::vector<Sentence> chain = MakeChain(1, 2);
  const ClientId reader = Greet();
  NumFound(reader, {chain[0], chain[1], chain[0]});
  EXPECT_EQ(Gauges().num_sought_keys, 2u);
}

// What a client says is where to look, no more.
TEST_F(SessionTiersTest, AReportedBlockIsDroppedIfItIsDamaged) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId writer = Greet();
  Store(writer, chain);
  const GetReply reply = GetBy(writer, chain);
  arena_[reply.blocks[2].offset + HeaderBytes(1) + 7] ^= std::byte{1};
  ReleaseBy(writer, reply.lease);
  EXPECT_EQ(Ask<ReportReply>(writer, Report{{chain[0].item.key, MakeSentence(50).item.key}}),
            ReportReply{});
  ASSERT_TRUE(scrubber_->Step(clock_.Now()));
  EXPECT_EQ(scrubber_->gauges().num_damaged_entries, 0u);
  EXPECT_EQ(Ask<ReportReply>(writer, Report{{chain[2].item.key}}), ReportReply{});
  ASSERT_TRUE(scrubber_->Step(clock_.Now()));
  EXPECT_EQ(scrubber_->gauges().num_damaged_entries, 0u) << "at its rate, not at once";
  Advance(seconds(1));
  ASSERT_TRUE(scrubber_->Step(clock_.Now()));
  EXPECT_EQ(scrubber_->gauges().num_damaged_entries, 1u);
  EXPECT_EQ(GetBy(writer, {chain[0], chain[1]}).blocks.size(), 2u);
  EXPECT_EQ(CreateBy(writer, chain[2]).outcome, CreateOutcome::kCreated);
}

TEST_F(SessionTiersTest, ReportsBeyondTheCapAreDropped) {
  const ClientId writer = Greet();
  std::vector<PrefixKey> keys;
  for (int i = 0; i < 12; ++i) keys.push_back(MakeSentence(i + 1).item.key);
  Ask<ReportReply>(writer, Report{keys});
  EXPECT_EQ(scrubber_->gauges().num_waiting_reports, 10u);
  EXPECT_EQ(scrubber_->gauges().num_dropped_reports, 2u);
}

TEST_F(SessionTiersTest, TheScrubberFindsWhatNobodyReads) {
  const std::vector<Sentence> chain = MakeChain(1, 20);
  const ClientId writer = Greet();
  Store(writer, chain);
  const GetReply reply = GetBy(writer, chain);
  arena_[reply.blocks[18].offset + HeaderBytes(1)] ^= std::byte{1};
  ReleaseBy(writer, reply.lease);
  // 16 places a step, at 10 kB a second: 3072 bytes take 0.3 s.
  ASSERT_TRUE(scrubber_->Step(clock_.Now()));
  EXPECT_EQ(scrubber_->gauges().num_checked_bytes, 16u * kSmall);
  Advance(milliseconds(306));
  ASSERT_TRUE(scrubber_->Step(clock_.Now()));
  EXPECT_EQ(scrubber_->gauges().num_checked_bytes, 16u * kSmall);
  Advance(milliseconds(2));
  ASSERT_TRUE(scrubber_->Step(clock_.Now()));
  EXPECT_EQ(scrubber_->gauges().num_checked_bytes, 20u * kSmall);
  EXPECT_EQ(scrubber_->gauges().num_damaged_entries, 1u);
  EXPECT_EQ(scrubber_->gauges().num_rounds, 1u);
  EXPECT_EQ(store_.gauges().index.num_leases, 0u);
  EXPECT_EQ(NumFound(writer, chain), 18u);
  // The next walk is some seconds later.
  Advance(seconds(1));
  ASSERT_TRUE(scrubber_->Step(clock_.Now()));
  EXPECT_EQ(scrubber_->gauges().num_checked_bytes, 20u * kSmall);
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
