// What the ranks of a group see of tiers: an entry is found with the blocks of all of them, or not
// at all.

#include <span>
#include <vector>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/server/testing/session_tiers_fixture.h"

namespace skv::kvstore {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

using SessionTiersRanksTest = SessionTiersFixture;

TEST_F(SessionTiersRanksTest, AnEntryIsFoundWithAllRanksOrNotAtAll) {
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

TEST_F(SessionTiersRanksTest, WhereATierLacksARankTheNextOneIsAsked) {
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

TEST_F(SessionTiersRanksTest, ABlockOfAnotherRankIsErased) {
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

TEST_F(SessionTiersRanksTest, WithRoomForOneOfTwoRanksNothingStaysPlaced) {
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

TEST_F(SessionTiersRanksTest, BlocksOfAnotherWorldSizeAreNotThere) {
  const std::vector<Sentence> chain = MakeChain(1, 1);
  Demote(Greet(), chain);
  const ClientId rank0 = Greet(HelloOfRank(0, 2));
  EXPECT_EQ(GetBy(rank0, chain), GetReply{});
  WaitBy(rank0, chain[0]);
  Settle();
  EXPECT_THAT(NoticeTo(rank0).abandoned, ElementsAre(chain[0].item.key));
}

}  // namespace
}  // namespace skv::kvstore
