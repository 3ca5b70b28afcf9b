#include "kvstore/tiering/tier_inbox.h"

#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/index/testing/numbered_keys.h"

namespace skv::kvstore {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr TimePoint kPast{milliseconds(1)};  // of the machine's clock

class TierInboxTest : public testing::Test {
 protected:
  TierInbox::Work Take(size_t max_writes = 100, TimePoint writes_from = TimePoint::min()) {
    return inbox_.Take(max_writes, writes_from, kPast).value();
  }

  TierInbox inbox_{{.max_seeks = 2, .max_writes = 3}};
};

TEST_F(TierInboxTest, SeeksComeFirstThenWritesInOrder) {
  for (int i = 1; i <= 3; ++i) inbox_.PushWrite(KeyOfNumber(i));
  EXPECT_TRUE(inbox_.PushSeek({.id = SeekId{7}}));
  const TierInbox::Work seek = Take();
  ASSERT_TRUE(seek.seek.has_value());
  EXPECT_EQ(seek.seek->id, SeekId{7});
  EXPECT_THAT(seek.writes, IsEmpty());
  EXPECT_THAT(Take(2).writes, ElementsAre(KeyOfNumber(1), KeyOfNumber(2)));
  EXPECT_THAT(Take().writes, ElementsAre(KeyOfNumber(3)));
  EXPECT_THAT(Take().writes, IsEmpty());
}

TEST_F(TierInboxTest, TheOldestWriteMakesRoomAndSeeksBeyondTheCapAreRefused) {
  for (int i = 1; i <= 5; ++i) inbox_.PushWrite(KeyOfNumber(i));
  EXPECT_EQ(inbox_.gauges().num_dropped_writes, 2u);
  EXPECT_THAT(Take().writes, ElementsAre(KeyOfNumber(3), KeyOfNumber(4), KeyOfNumber(5)));
  EXPECT_TRUE(inbox_.PushSeek({}));
  EXPECT_TRUE(inbox_.PushSeek({}));
  EXPECT_FALSE(inbox_.PushSeek({}));
}

TEST_F(TierInboxTest, WritesThatAreBackComeFirstAsFarAsThereIsRoom) {
  inbox_.PushWrite(KeyOfNumber(1));
  inbox_.PushWrite(KeyOfNumber(2));
  const std::vector<EntryKey> taken = Take().writes;
  inbox_.PushWrite(KeyOfNumber(3));
  inbox_.PushWrite(KeyOfNumber(4));
  inbox_.PutBack(taken);
  EXPECT_EQ(inbox_.gauges().num_dropped_writes, 1u);
  EXPECT_THAT(Take().writes, ElementsAre(KeyOfNumber(2), KeyOfNumber(3), KeyOfNumber(4)));
}

TEST_F(TierInboxTest, WritesWaitForTheirTimeAndSeeksDoNot) {
  inbox_.PushWrite(KeyOfNumber(1));
  EXPECT_THAT(Take(1, kPast).writes, IsEmpty());
  inbox_.PushSeek({.id = SeekId{1}});
  EXPECT_TRUE(Take(1, kPast).seek.has_value());
}

TEST_F(TierInboxTest, AWaitingThreadIsWokenByWorkAndByStop) {
  const auto take = [this] {
    return inbox_.Take(1, TimePoint::min(), RealClock().Now() + seconds(100));
  };
  std::thread thread([this] { inbox_.PushWrite(KeyOfNumber(1)); });
  EXPECT_THAT(take()->writes, ElementsAre(KeyOfNumber(1)));
  thread.join();
  thread = std::thread([this] { inbox_.Stop(); });
  EXPECT_FALSE(take().has_value());
  thread.join();
  EXPECT_FALSE(inbox_.PushSeek({}));
}

TEST_F(TierInboxTest, ATierThatIsOffOrWaitsForAnAnswerForLongIsNotUsable) {
  const TimePoint now{seconds(50)};
  EXPECT_TRUE(inbox_.IsUsable(now, seconds(2)));
  inbox_.SetBusySince(now - seconds(2));
  EXPECT_TRUE(inbox_.IsUsable(now, seconds(2)));
  EXPECT_FALSE(inbox_.IsUsable(now + milliseconds(1), seconds(2)));
  inbox_.SetBusySince(TimePoint::max());
  inbox_.SetOn(false);
  EXPECT_FALSE(inbox_.IsUsable(now, seconds(2)));
}

TEST_F(TierInboxTest, ATierThatIsOnlyReadGetsNothingToWriteAndIsTriedBySeeks) {
  const TimePoint now{seconds(50)};
  TierInbox inbox({.max_writes = 0});
  inbox.PushWrite(KeyOfNumber(1));
  EXPECT_EQ(inbox.gauges().num_writes, 0u);
  EXPECT_EQ(inbox.gauges().num_dropped_writes, 0u);
  inbox.SetOn(false);
  EXPECT_TRUE(inbox.IsUsable(now, seconds(2)));
  inbox.SetBusySince(now - seconds(3));
  EXPECT_FALSE(inbox.IsUsable(now, seconds(2)));
}

}  // namespace
}  // namespace skv::kvstore
