#include "kvstore/server/command_queue.h"

#include <poll.h>

#include <vector>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;

// A command writes down its name and the code that it was called with.
class CommandQueueTest : public testing::Test {
 protected:
  CommandQueueTest() { queue_.Open(); }
  CommandQueue::Command Note(int name) {
    return [this, name](const absl::StatusOr<StoreAdmin*>& admin) {
      called_.emplace_back(name, admin.status().code());
    };
  }
  bool IsReadable() {
    pollfd polled = {queue_.fd(), POLLIN, 0};
    return poll(&polled, 1, 0) == 1;
  }

  CommandQueue queue_{2};
  TimePoint now_;
  const TimePoint soon_ = now_ + std::chrono::seconds(1);
  std::vector<std::pair<int, StatusCode>> called_;
};

TEST_F(CommandQueueTest, CommandsRunInOrderAndItsDescriptorTells) {
  EXPECT_FALSE(IsReadable());
  EXPECT_OK(queue_.Submit(soon_, Note(1)));
  EXPECT_OK(queue_.Submit(soon_, Note(2)));
  EXPECT_TRUE(queue_.RunNext(now_, nullptr));
  EXPECT_TRUE(IsReadable());
  EXPECT_TRUE(queue_.RunNext(now_, nullptr));
  EXPECT_FALSE(IsReadable());
  EXPECT_FALSE(queue_.RunNext(now_, nullptr));
  EXPECT_THAT(called_, ElementsAre(std::pair(1, StatusCode::kOk), std::pair(2, StatusCode::kOk)));
}

TEST_F(CommandQueueTest, IsBounded) {
  EXPECT_OK(queue_.Submit(soon_, Note(1)));
  EXPECT_OK(queue_.Submit(soon_, Note(2)));
  EXPECT_THAT(queue_.Submit(soon_, Note(3)),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("2 commands")));
  EXPECT_TRUE(queue_.RunNext(now_, nullptr));
  EXPECT_OK(queue_.Submit(soon_, Note(4)));
  EXPECT_EQ(queue_.size(), 2u);
}

TEST_F(CommandQueueTest, WhatGivesBackToTheStoreIsTakenBeyondThatAndWithoutADeadline) {
  EXPECT_OK(queue_.Submit(soon_, Note(1)));
  EXPECT_OK(queue_.Submit(soon_, Note(2)));
  EXPECT_OK(queue_.SubmitRelease(Note(3)));
  const TimePoint late = soon_ + std::chrono::hours(1);
  while (queue_.RunNext(late, nullptr)) {
  }
  EXPECT_EQ(called_.back(), std::pair(3, StatusCode::kOk));
  queue_.Close();
  EXPECT_EQ(queue_.SubmitRelease(Note(4)).code(), StatusCode::kUnavailable);
  EXPECT_THAT(called_, testing::SizeIs(3));
}

TEST_F(CommandQueueTest, ACommandWhoseTurnComesTooLateIsTold) {
  EXPECT_OK(queue_.Submit(soon_, Note(1)));
  EXPECT_TRUE(queue_.RunNext(soon_, nullptr));
  EXPECT_THAT(called_, ElementsAre(std::pair(1, StatusCode::kDeadlineExceeded)));
}

TEST_F(CommandQueueTest, ACommandMaySubmitTheNext) {
  EXPECT_OK(queue_.Submit(soon_, [&](const auto&) { EXPECT_OK(queue_.Submit(soon_, Note(1))); }));
  EXPECT_TRUE(queue_.RunNext(now_, nullptr));
  EXPECT_TRUE(IsReadable());
  EXPECT_TRUE(queue_.RunNext(now_, nullptr));
  EXPECT_THAT(called_, ElementsAre(std::pair(1, StatusCode::kOk)));
}

TEST_F(CommandQueueTest, WhatWaitsWhenItClosesIsToldAndNothingIsTakenThen) {
  EXPECT_OK(queue_.Submit(soon_, Note(1)));
  queue_.Close();
  EXPECT_THAT(called_, ElementsAre(std::pair(1, StatusCode::kUnavailable)));
  EXPECT_THAT(queue_.Submit(soon_, Note(2)),
              StatusIs(StatusCode::kUnavailable, HasSubstr("stopping")));
  EXPECT_FALSE(queue_.RunNext(now_, nullptr));
}

}  // namespace
}  // namespace skv::kvstore
