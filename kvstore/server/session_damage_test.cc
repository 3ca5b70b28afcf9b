// What sessions see of damaged blocks, in tiers and in the arena: they are misses.

#include <chrono>
#include <vector>

#include "gtest/gtest.h"
#include "kvstore/server/testing/session_tiers_fixture.h"

namespace skv::kvstore {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

using SessionDamageTest = SessionTiersFixture;

TEST_F(SessionDamageTest, ADamagedBlockIsErasedAndTheNextTierAsked) {
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

TEST_F(SessionDamageTest, ABlockThatTheTierItselfFindsDamagedIsCountedAndTheNextTierAsked) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  nvme_.MakeUnreadable(KeyOf(chain[1]));
  NumFound(reader, chain);
  Settle();
  EXPECT_EQ(movers_[0]->gauges().num_corrupt_blocks, 1u);
  EXPECT_EQ(NumFound(reader, chain), 3u);
}

// As of another version of blocks. A tier may take what it has for written: what stayed there would
// keep whole blocks out.
TEST_F(SessionDamageTest, AChainOfDamagedBlocksIsErasedByOneSeek) {
  const std::vector<Sentence> chain = MakeChain(1, 20);
  const ClientId writer = Greet(), reader = Greet();
  redis_.SetOn(false);
  Demote(writer, chain);
  for (const Sentence& sentence : chain) ASSERT_TRUE(nvme_.Damage(KeyOf(sentence)));
  NumFound(reader, chain);
  Settle();
  for (const Sentence& sentence : chain) EXPECT_FALSE(nvme_.Has(KeyOf(sentence)));
  EXPECT_EQ(movers_[0]->gauges().num_corrupt_blocks, 20u);
  Demote(writer, chain);
  NumFound(reader, chain);
  Settle();
  EXPECT_EQ(NumFound(reader, chain), 20u);
  ExpectNothingIsLeft();
}

TEST_F(SessionDamageTest, WhatATierIsTooFarBehindToEraseIsErasedBeforeTheNextWrites) {
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const ClientId writer = Greet(), reader = Greet();
  redis_.SetOn(false);
  Demote(writer, chain);
  for (const Sentence& sentence : chain) ASSERT_TRUE(nvme_.Damage(KeyOf(sentence)));
  nvme_.SetBehind(true);
  NumFound(reader, chain);
  Settle();
  EXPECT_TRUE(nvme_.Has(KeyOf(chain[0])));
  nvme_.SetBehind(false);
  Store(writer, {MakeSentence(50)});
  Settle();
  EXPECT_TRUE(nvme_.Has(KeyOf(MakeSentence(50))));
  for (const Sentence& sentence : chain) EXPECT_FALSE(nvme_.Has(KeyOf(sentence)));
}

// What is whole stays, and is not read in vain where nothing is damaged.
TEST_F(SessionDamageTest, BehindADamagedBlockWholeOnesStay) {
  const std::vector<Sentence> chain = MakeChain(1, 30);
  const ClientId writer = Greet(), reader = Greet();
  Demote(writer, chain);
  ASSERT_TRUE(nvme_.Damage(KeyOf(chain[2])));
  ASSERT_TRUE(nvme_.Damage(KeyOf(chain[9])));
  const size_t num_calls = nvme_.num_calls();
  redis_.SetOn(false);
  NumFound(reader, chain);
  ASSERT_TRUE(movers_[0]->Step(clock_.Now()));
  // Eight, eight more, and eight in which nothing is damaged; two erasures.
  EXPECT_EQ(nvme_.num_calls(), num_calls + 5);
  for (size_t i = 0; i < chain.size(); ++i) {
    EXPECT_EQ(nvme_.Has(KeyOf(chain[i])), i != 2 && i != 9) << i;
  }
}

TEST_F(SessionDamageTest, WhatIsDamagedEverywhereIsNotThere) {
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

TEST_F(SessionDamageTest, ABlockDamagedInTheArenaIsDroppedAndNotWritten) {
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

// What a client says is where to look, no more.
TEST_F(SessionDamageTest, AReportedBlockIsDroppedIfItIsDamaged) {
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

TEST_F(SessionDamageTest, ReportsBeyondTheCapAreDropped) {
  const ClientId writer = Greet();
  std::vector<PrefixKey> keys;
  keys.reserve(12);
  for (int i = 0; i < 12; ++i) keys.push_back(MakeSentence(i + 1).item.key);
  Ask<ReportReply>(writer, Report{keys});
  EXPECT_EQ(scrubber_->gauges().num_waiting_reports, 10u);
  EXPECT_EQ(scrubber_->gauges().num_dropped_reports, 2u);
}

TEST_F(SessionDamageTest, TheScrubberFindsWhatNobodyReads) {
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

}  // namespace
}  // namespace skv::kvstore
