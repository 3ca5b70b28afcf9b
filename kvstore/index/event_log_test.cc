#include "kvstore/index/event_log.h"

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace skv::kvstore {
namespace {

using testing::HasSubstr;

EntryEvent Event(uint32_t depth) { return {.depth = depth}; }

class EventLogTest : public testing::Test {
 protected:
  // Events of depth 1, 2, ...: the depth is the sequence number.
  void Append(int count) {
    for (int i = 0; i < count; ++i) log_.Append({Event(++last_)});
  }
  std::vector<uint32_t> Depths() const {
    std::vector<uint32_t> depths;
    for (const EntryEvent& event : events_) depths.push_back(event.depth);
    return depths;
  }
  EventLog log_{4};
  uint32_t last_ = 0;
  std::vector<EntryEvent> events_;
};

TEST_F(EventLogTest, AReaderGoesOnWhereItStopped) {
  Append(3);
  EXPECT_OK(log_.Read(1, 2, &events_));
  EXPECT_OK(log_.Read(3, 2, &events_));
  EXPECT_EQ(Depths(), (std::vector<uint32_t>{1, 2, 3}));
  EXPECT_OK(log_.Read(log_.next_sequence(), 2, &events_));
  EXPECT_EQ(events_.size(), 3u);
}

TEST_F(EventLogTest, AReaderThatFellBehindNeedsASnapshot) {
  Append(6);
  EXPECT_EQ(log_.first_sequence(), 3u);
  EXPECT_THAT(log_.Read(2, 9, &events_),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("snapshot")));
  EXPECT_OK(log_.Read(3, 9, &events_));
  EXPECT_EQ(Depths(), (std::vector<uint32_t>{3, 4, 5, 6}));
}

TEST_F(EventLogTest, NumbersThatWereNeverGivenAreRefused) {
  Append(2);
  for (const uint64_t sequence : {uint64_t{0}, uint64_t{4}, UINT64_MAX}) {
    EXPECT_THAT(log_.Read(sequence, 1, &events_),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("never given")));
  }
  EXPECT_TRUE(events_.empty());
}

TEST_F(EventLogTest, MoreEventsAtOnceThanItKeepsLeaveTheLast) {
  std::vector<EntryEvent> many;
  for (uint32_t i = 1; i <= 10; ++i) many.push_back(Event(i));
  log_.Append(many);
  EXPECT_OK(log_.Read(log_.first_sequence(), UINT32_MAX, &events_));
  EXPECT_EQ(Depths(), (std::vector<uint32_t>{7, 8, 9, 10}));
}

}  // namespace
}  // namespace skv::kvstore
