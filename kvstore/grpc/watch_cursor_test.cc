#include "kvstore/grpc/watch_cursor.h"

#include <vector>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::HasSubstr;
using testing::SizeIs;

constexpr StoreEpoch kEpoch = {1};

class WatchCursorTest : public testing::Test {
 protected:
  void Append(size_t count) { feed_.Append(std::vector<EntryEvent>(count)); }
  WatchCursor Cursor(const WatchPosition& position = {}) { return {kEpoch, position, &feed_}; }
  SnapshotPage Page(size_t num_entries, std::optional<EntryIdx> next) {
    return {std::vector<EntryEvent>(num_entries), next, feed_.next_sequence()};
  }
  WatchMessage Next(WatchCursor* cursor) {
    const auto next = cursor->Next(feed_.next_sequence());
    EXPECT_OK(next);
    EXPECT_TRUE(next->has_value());
    return **next;
  }
  bool HasNothing(WatchCursor* cursor) {
    return !cursor->Next(feed_.next_sequence()).value().has_value();
  }

  EventFeed feed_{4000};
};

TEST_F(WatchCursorTest, APageIsToldBehindAllEventsBeforeIt) {
  Append(9);
  WatchCursor cursor = Cursor();
  EXPECT_TRUE(cursor.takes_snapshot());
  EXPECT_TRUE(HasNothing(&cursor));
  EXPECT_EQ(cursor.WantedPage(), EntryIdx{0});
  cursor.OnPage(Page(2, 100));
  EXPECT_EQ(cursor.WantedPage(), std::nullopt);
  const WatchMessage first = Next(&cursor);
  EXPECT_TRUE(first.is_page && first.is_first && !first.is_last);
  EXPECT_EQ(first.next_sequence, 0u);

  EXPECT_EQ(cursor.WantedPage(), EntryIdx{100});
  Append(3);
  cursor.OnPage(Page(1, std::nullopt));
  Append(2);  // after the page was read
  const WatchMessage events = Next(&cursor);
  EXPECT_FALSE(events.is_page);
  EXPECT_EQ(events.first_sequence, 10u);
  EXPECT_THAT(events.events, SizeIs(3));
  EXPECT_EQ(events.next_sequence, 0u);
  const WatchMessage last = Next(&cursor);
  EXPECT_TRUE(last.is_page && !last.is_first && last.is_last);
  EXPECT_EQ(last.next_sequence, 13u);
  const WatchMessage later = Next(&cursor);
  EXPECT_EQ(later.first_sequence, 13u);
  EXPECT_EQ(later.next_sequence, 15u);
  EXPECT_TRUE(HasNothing(&cursor));
}

TEST_F(WatchCursorTest, AResumedReaderIsToldSoAtOnce) {
  Append(9);
  WatchCursor cursor = Cursor({kEpoch, 10});
  EXPECT_FALSE(cursor.takes_snapshot());
  const WatchMessage greeting = Next(&cursor);
  EXPECT_FALSE(greeting.is_page);
  EXPECT_EQ(greeting.next_sequence, 10u);
  EXPECT_THAT(greeting.events, SizeIs(0));
  EXPECT_TRUE(HasNothing(&cursor));
}

TEST_F(WatchCursorTest, ManyEventsComeInSeveralMessages) {
  Append(1 + 2 * WatchCursor::kMaxEvents);
  WatchCursor cursor = Cursor({kEpoch, 1});
  EXPECT_EQ(cursor.lag(), 1 + 2 * WatchCursor::kMaxEvents);
  EXPECT_THAT(Next(&cursor).events, SizeIs(WatchCursor::kMaxEvents));
  EXPECT_THAT(Next(&cursor).events, SizeIs(WatchCursor::kMaxEvents));
  EXPECT_THAT(Next(&cursor).events, SizeIs(1));
  EXPECT_EQ(cursor.lag(), 0u);
}

TEST_F(WatchCursorTest, EventsWaitForTheirBatch) {
  Append(9);
  WatchCursor cursor = Cursor({kEpoch, 5});
  EXPECT_THAT((*cursor.Next(3))->events, SizeIs(0));  // the greeting
  EXPECT_EQ(*cursor.Next(5), std::nullopt);
  EXPECT_THAT((*cursor.Next(7))->events, SizeIs(2));
  EXPECT_EQ(*cursor.Next(7), std::nullopt);
}

TEST_F(WatchCursorTest, WhereverItCannotGoOnItTakesASnapshot) {
  Append(5000);
  const struct {
    const char* why;
    WatchPosition position;
  } kCases[] = {{"nothing heard yet", {}},
                {"no longer kept", {kEpoch, 1000}},
                {"never given", {kEpoch, 5002}},
                {"another epoch", {{2}, 5000}}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    EXPECT_TRUE(Cursor(c.position).takes_snapshot());
  }
  EXPECT_FALSE(Cursor({kEpoch, 1001}).takes_snapshot());
}

TEST_F(WatchCursorTest, AReaderThatFallsBehindTheLogIsTold) {
  WatchCursor cursor = Cursor({kEpoch, 1});
  Append(4001);
  EXPECT_THAT(cursor.Next(feed_.next_sequence()),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("4001 events behind")));
}

}  // namespace
}  // namespace skv::kvstore
