#include "kvstore/tiering/scrubber.h"

#include <chrono>
#include <vector>

#include "common/testing/fake_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/index/lru_order.h"
#include "kvstore/store/testing/store_chains.h"
#include "kvstore/tiering/testing/inline_owner.h"

namespace skv::kvstore {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kNumBlocks = 40;
constexpr int64_t kSmall = 192;  // bytes of MakeSentence(n)
constexpr int kPiece = 16;       // entries that are held at one time

// One thread; time passes when the test says so, so that no step waits.
class ScrubberTest : public testing::Test {
 protected:
  static BlockStoreOptions Options() {
    BlockStoreOptions options;
    options.index.capacity_bytes = kNumBlocks * kSmall;
    options.index.max_entries = options.index.max_shards = 100;
    return options;
  }
  explicit ScrubberTest(const ScrubberOptions& options = {},
                        const BlockStoreOptions& store = Options())
      : store_(store, CreateLruOrder(store.index.order()), arena_),
        scrubber_(options, &owner_, &clock_) {}

  void Store(const TestSentence& sentence) {
    const absl::StatusOr<CreatedBlock> created = store_.Create(client_, {sentence.block}, now_)[0];
    ASSERT_OK(created);
    ASSERT_EQ(created->outcome, Created::Outcome::kCreated);
    WriteBlock(HeaderOf(sentence), sentence.fill,
               std::span(arena_).subspan(created->offset, created->num_bytes));
    ASSERT_OK(store_.Seal(client_, {created->lease}, /*is_tip=*/true)[0]);
    ASSERT_OK(store_.Release(client_, {created->lease}));
  }
  std::vector<TestSentence> StoreSome(int count) {
    std::vector<TestSentence> sentences;
    for (int i = 1; i <= count; ++i) Store(sentences.emplace_back(MakeSentence(i)));
    return sentences;
  }
  Hit Lease(const TestSentence& sentence) {
    return store_.Get(client_, 0, {sentence.block.key}, &blocks_).value();
  }
  bool IsThere(const TestSentence& sentence) {
    const Hit hit = Lease(sentence);
    if (hit.num_entries == 0) return false;
    EXPECT_OK(store_.Release(client_, {hit.lease}));
    return true;
  }
  // One bit of its payload.
  void Damage(const TestSentence& sentence) {
    EXPECT_OK(store_.Release(client_, {Lease(sentence).lease}));
    arena_[static_cast<size_t>(blocks_.at(0).offset) + HeaderBytes(1) + 5] ^= std::byte{1};
  }
  void Step() { EXPECT_TRUE(scrubber_.Step(clock_.Now())); }
  int64_t NumChecked() const {
    return static_cast<int64_t>(scrubber_.gauges().num_checked_bytes) / kSmall;
  }

  std::vector<std::byte> arena_ = std::vector<std::byte>(kNumBlocks * kSmall);
  BlockStore store_;
  const SessionId client_ = store_.OpenSession().value();
  TierDesk desk_{{}, &store_, arena_, {}};
  InlineOwner owner_{&desk_, [] {}};
  FakeClock clock_;
  Scrubber scrubber_;
  const TimePoint now_;
  std::vector<ShardBytes> blocks_;
};

TEST_F(ScrubberTest, ADamagedEntryIsDroppedAndMayBeWrittenAnew) {
  const std::vector<TestSentence> sentences = StoreSome(3);
  Damage(sentences[1]);
  Step();
  EXPECT_TRUE(IsThere(sentences[0]));
  EXPECT_FALSE(IsThere(sentences[1]));
  EXPECT_TRUE(IsThere(sentences[2]));
  EXPECT_EQ(NumChecked(), 3);
  EXPECT_EQ(scrubber_.gauges().num_damaged_entries, 1u);
  EXPECT_EQ(store_.gauges().index.num_leases, 0u);
  Store(sentences[1]);
}

TEST_F(ScrubberTest, AVerificationComparesAllThatIsThereOnceWhateverTheWalkDoes) {
  const std::vector<TestSentence> sentences = StoreSome(kNumBlocks);
  Step();  // of the walk, which now has a pause
  Damage(sentences.front());
  Damage(sentences.back());
  ASSERT_OK_AND_ASSIGN(const uint64_t id, scrubber_.Verify());
  EXPECT_THAT(scrubber_.Verify(),
              StatusIs(absl::StatusCode::kResourceExhausted, testing::HasSubstr("still running")));
  for (int i = 0; i < 20 && scrubber_.verification().is_running; ++i) {
    clock_.Advance(Scrubber::kMinPause);
    Step();
    EXPECT_EQ(store_.gauges().index.num_leases, 0u);
  }
  const Verification done = scrubber_.verification();
  EXPECT_FALSE(done.is_running);
  EXPECT_EQ(done.id, id);
  EXPECT_EQ(done.num_entries, static_cast<uint64_t>(kNumBlocks));
  EXPECT_EQ(done.num_bytes, static_cast<uint64_t>(kNumBlocks * kSmall));
  EXPECT_EQ(done.num_damaged_entries, 2u);
  EXPECT_THAT(done.damaged,
              testing::ElementsAre(sentences.front().block.key, sentences.back().block.key));
  EXPECT_FALSE(IsThere(sentences.front()));
  EXPECT_FALSE(IsThere(sentences.back()));
  ASSERT_OK_AND_ASSIGN(const uint64_t next_id, scrubber_.Verify());
  EXPECT_EQ(next_id, id + 1);
}

// As where clients hold all leases that there may be.
class FewLeasesTest : public ScrubberTest {
 protected:
  FewLeasesTest() : ScrubberTest({}, MaxLeases(kNumLeases)) {}
  static BlockStoreOptions MaxLeases(uint32_t max_leases) {
    BlockStoreOptions options = Options();
    options.index.leases.max_leases = max_leases;
    return options;
  }
  void StepUntilVerified() {
    for (int i = 0; i < 500 && scrubber_.verification().is_running; ++i) {
      clock_.Advance(milliseconds(100));
      Step();
    }
  }
  static constexpr uint32_t kNumLeases = kPiece;
};

TEST_F(FewLeasesTest, AVerificationComesBackToWhatItHadNoLeaseFor) {
  const std::vector<TestSentence> sentences = StoreSome(kPiece);
  Step();  // of the walk, which now has a pause
  Damage(sentences[kPiece - 1]);
  const Hit held = Lease(sentences[0]);
  ASSERT_OK(scrubber_.Verify().status());
  for (int i = 0; i < 10; ++i) {
    clock_.Advance(Scrubber::kRefusedPause);
    Step();
    EXPECT_EQ(store_.gauges().index.num_leases, 1u) << "it holds none meanwhile";
  }
  EXPECT_TRUE(scrubber_.verification().is_running);
  EXPECT_OK(store_.Release(client_, {held.lease}));
  StepUntilVerified();
  const Verification done = scrubber_.verification();
  EXPECT_FALSE(done.is_running);
  EXPECT_EQ(done.num_entries, uint64_t{kPiece});
  EXPECT_EQ(done.num_damaged_entries, 1u);
  EXPECT_EQ(done.num_skipped_entries, 0u);
}

TEST_F(FewLeasesTest, AVerificationCountsWhatItNeverHadALeaseFor) {
  const std::vector<TestSentence> sentences = StoreSome(kNumBlocks);
  Step();
  Damage(sentences[kPiece - 1]);
  const Hit held = Lease(sentences[0]);
  ASSERT_OK(scrubber_.Verify().status());
  const TimePoint start = clock_.Now();
  StepUntilVerified();
  const Verification done = scrubber_.verification();
  EXPECT_FALSE(done.is_running);
  EXPECT_GE(clock_.Now() - start, Scrubber::kRefusedTime);
  EXPECT_LT(clock_.Now() - start, Scrubber::kRefusedTime + seconds(1)) << "once, for all pieces";
  EXPECT_EQ(done.num_skipped_entries, 2u);  // of two full pieces
  EXPECT_EQ(done.num_entries, uint64_t{kNumBlocks} - 2);
  EXPECT_EQ(done.num_damaged_entries, 0u) << "it was the one";
  EXPECT_OK(store_.Release(client_, {held.lease}));
}

TEST_F(ScrubberTest, ProgressIsThatOfPlacesWhateverLiesThere) {
  StoreSome(kNumBlocks);
  Step();
  while (!store_.Purge(std::nullopt, 100, now_).is_done) {
  }
  ASSERT_OK(scrubber_.Verify().status());
  uint64_t num_walked = 0;
  while (scrubber_.verification().is_running) {
    clock_.Advance(Scrubber::kMinPause);
    Step();
    const Verification now = scrubber_.verification();
    EXPECT_GT(now.num_walked_places, num_walked);
    num_walked = now.num_walked_places;
    EXPECT_EQ(now.num_places, uint64_t{kNumBlocks});
    EXPECT_EQ(now.num_entries, 0u);
  }
  EXPECT_EQ(num_walked, uint64_t{kNumBlocks});
}

TEST_F(ScrubberTest, ReportsAndAVerificationTakeTurns) {
  const std::vector<TestSentence> sentences = StoreSome(kNumBlocks);
  Step();
  ASSERT_OK(scrubber_.Verify().status());
  std::vector<EntryKey> reports(6 * kPiece, sentences[0].block.key);
  scrubber_.Report(reports);
  for (int i = 0; i < 6; ++i) {
    clock_.Advance(Scrubber::kMinPause);
    Step();
  }
  EXPECT_FALSE(scrubber_.verification().is_running);
  EXPECT_EQ(scrubber_.gauges().num_waiting_reports, 3u * kPiece);
}

TEST_F(ScrubberTest, WhoeverHoldsADamagedEntryKeepsItsMemory) {
  const std::vector<TestSentence> sentences = StoreSome(1);
  Damage(sentences[0]);
  const Hit held = Lease(sentences[0]);
  Step();
  EXPECT_FALSE(IsThere(sentences[0]));
  EXPECT_EQ(store_.gauges().live_bytes, static_cast<uint64_t>(kSmall));
  EXPECT_OK(store_.Release(client_, {held.lease}));
  EXPECT_EQ(store_.gauges().live_bytes, 0u);
}

TEST_F(ScrubberTest, AWalkMeetsEachEntryOnceAndTheNextOneComesAfterAPause) {
  const std::vector<TestSentence> sentences = StoreSome(kNumBlocks);
  Damage(sentences.back());
  for (int i = 0; i < 20 && scrubber_.gauges().num_rounds == 0; ++i) {
    Step();
    EXPECT_EQ(store_.gauges().index.num_leases, 0u);
    clock_.Advance(seconds(1));
  }
  EXPECT_EQ(scrubber_.gauges().num_rounds, 1u);
  EXPECT_EQ(NumChecked(), kNumBlocks);
  EXPECT_FALSE(IsThere(sentences.back()));
  clock_.Advance(Scrubber::kRoundPause - seconds(1) - milliseconds(1));
  Step();
  EXPECT_EQ(NumChecked(), kNumBlocks);
  clock_.Advance(milliseconds(1));
  Step();
  EXPECT_EQ(NumChecked(), kNumBlocks + kPiece);
}

class SlowScrubberTest : public ScrubberTest {
 protected:
  SlowScrubberTest() : ScrubberTest({.bytes_per_second = kPiece * kSmall}) {}
};

TEST_F(SlowScrubberTest, TheRateIsKept) {
  StoreSome(2 * kPiece);
  Step();
  EXPECT_EQ(NumChecked(), kPiece);
  clock_.Advance(milliseconds(999));
  Step();
  EXPECT_EQ(NumChecked(), kPiece);
  clock_.Advance(milliseconds(1));
  Step();
  EXPECT_EQ(NumChecked(), 2 * kPiece);
}

TEST_F(SlowScrubberTest, ReportsAndTheWalkShareTheRate) {
  std::vector<EntryKey> keys;
  for (const TestSentence& sentence : StoreSome(kPiece)) keys.push_back(sentence.block.key);
  scrubber_.Report(keys);
  Step();
  EXPECT_EQ(NumChecked(), kPiece);
  Step();
  EXPECT_EQ(NumChecked(), kPiece);
  scrubber_.Report(keys);
  clock_.Advance(milliseconds(999));
  Step();
  EXPECT_EQ(NumChecked(), kPiece);
  clock_.Advance(milliseconds(1));
  Step();
  EXPECT_EQ(NumChecked(), 2 * kPiece);
  EXPECT_EQ(scrubber_.gauges().num_waiting_reports, size_t{kPiece}) << "it was the walk's turn";
  clock_.Advance(seconds(1));
  Step();
  EXPECT_EQ(NumChecked(), 3 * kPiece);
  EXPECT_EQ(scrubber_.gauges().num_waiting_reports, 0u);
}

TEST_F(SlowScrubberTest, ReportsOfWhatIsNotThereDoNotStopTheWalk) {
  StoreSome(kPiece);
  std::vector<EntryKey> keys;
  keys.reserve(4 * kPiece);
  for (int i = 0; i < 4 * kPiece; ++i) keys.push_back(MakeSentence(1000 + i).block.key);
  scrubber_.Report(keys);
  Step();
  EXPECT_EQ(NumChecked(), 0);
  clock_.Advance(Scrubber::kMinPause);
  Step();
  EXPECT_EQ(NumChecked(), kPiece) << "the walk's turn";
  EXPECT_EQ(scrubber_.gauges().num_waiting_reports, 3u * kPiece);
}

class ReportTest : public ScrubberTest {
 protected:
  ReportTest() : ScrubberTest({.bytes_per_second = 0, .max_reports = 3}) {}
};

TEST_F(ReportTest, OnlyWhatIsReportedAndDamagedIsDropped) {
  const std::vector<TestSentence> sentences = StoreSome(4);
  Damage(sentences[0]);
  Damage(sentences[1]);
  Step();
  EXPECT_EQ(NumChecked(), 0);
  scrubber_.Report({sentences[1].block.key, sentences[2].block.key, MakeSentence(9).block.key});
  Step();
  EXPECT_EQ(NumChecked(), 2);
  EXPECT_TRUE(IsThere(sentences[0])) << "nobody has reported it";
  EXPECT_FALSE(IsThere(sentences[1]));
  EXPECT_TRUE(IsThere(sentences[2]));
  EXPECT_EQ(scrubber_.gauges().num_damaged_entries, 1u);
  EXPECT_EQ(store_.gauges().index.num_leases, 0u);
}

TEST_F(ReportTest, ReportsBeyondTheirNumberAreDropped) {
  std::vector<EntryKey> keys;
  for (const TestSentence& sentence : StoreSome(4)) keys.push_back(sentence.block.key);
  scrubber_.Report(keys);
  EXPECT_EQ(scrubber_.gauges().num_reports, 4u);
  EXPECT_EQ(scrubber_.gauges().num_dropped_reports, 1u);
  EXPECT_EQ(scrubber_.gauges().num_waiting_reports, 3u);
  Step();
  EXPECT_EQ(NumChecked(), 3);
}

TEST_F(ReportTest, AStoppedScrubberDoesNoMore) {
  scrubber_.Start();
  scrubber_.Stop();
  EXPECT_FALSE(scrubber_.Step(clock_.Now()));
}

}  // namespace
}  // namespace skv::kvstore
