#include "kvstore/server/event_feed.h"

#include <thread>
#include <vector>

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace skv::kvstore {
namespace {

using std::chrono::seconds;

TEST(EventFeedTest, WhatWasAppendedIsRead) {
  EventFeed feed(4);
  EXPECT_EQ(feed.next_sequence(), 1u);
  feed.Append({EntryEvent{.depth = 1}, EntryEvent{.depth = 2}});
  std::vector<EntryEvent> events;
  EXPECT_OK(feed.Read(2, 9, &events));
  EXPECT_EQ(events, (std::vector<EntryEvent>{{.depth = 2}}));
  EXPECT_EQ(feed.num_kept(), 2u);
  feed.Append(std::vector<EntryEvent>(9));
  EXPECT_EQ(feed.num_kept(), feed.capacity());
}

TEST(EventFeedTest, AWaitEndsAtItsDeadline) {
  EventFeed feed(4);
  const TimePoint deadline = RealClock().Now() + std::chrono::milliseconds(1);
  EXPECT_FALSE(feed.Wait(deadline));
  EXPECT_GE(RealClock().Now(), deadline);
}

TEST(EventFeedTest, AWaitEndsWithAnEventOrAWake) {
  EventFeed feed(4);
  const auto wait = [&feed] {
    const TimePoint deadline = RealClock().Now() + seconds(120);
    const bool has_events = feed.Wait(deadline);
    EXPECT_LT(RealClock().Now(), deadline);
    return has_events;
  };
  feed.Wake();  // before it is waited for
  EXPECT_FALSE(wait());
  std::thread appends([&feed] { feed.Append({EntryEvent{}}); });
  EXPECT_TRUE(wait());
  appends.join();
  std::thread wakes([&feed] { feed.Wake(); });
  EXPECT_FALSE(wait());
  wakes.join();
}

TEST(EventFeedTest, EventsThatComeSoonAfterOthersAreGathered) {
  EventFeed feed(4);
  const TimePoint begin = RealClock().Now();
  const TimePoint deadline = begin + seconds(120);
  feed.Append({EntryEvent{}});
  EXPECT_TRUE(feed.Wait(deadline));
  feed.Append({EntryEvent{}});
  feed.Wake();
  const bool has_events = feed.Wait(deadline);
  EXPECT_TRUE(!has_events || RealClock().Now() >= begin + EventFeed::kBatchTime);
  if (!has_events) {
    EXPECT_TRUE(feed.Wait(deadline)) << "they are not forgotten";
  }
  EXPECT_GE(RealClock().Now(), begin + EventFeed::kBatchTime);
}

}  // namespace
}  // namespace skv::kvstore
