#include "router/membership/group_waiters.h"

#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::router {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

class GroupWaitersTest : public testing::Test {
 protected:
  static TimePoint At(int s) { return TimePoint(seconds(s)); }
  std::optional<uint64_t> Enter(uint64_t seen, int until) {
    return waiters_.Enter(seen, At(until), [this](uint64_t id, bool time_is_over) {
      calls_.emplace_back(id, time_is_over);
    });
  }
  std::vector<std::pair<uint64_t, bool>> Wake(uint64_t num_recoveries, int now) {
    calls_.clear();
    waiters_.Wake(num_recoveries, At(now));
    return calls_;
  }

  GroupWaiters waiters_{3};
  std::vector<std::pair<uint64_t, bool>> calls_;
};

TEST_F(GroupWaitersTest, ARecoveryCallsThoseWhoHaveNotSeenItOnce) {
  const uint64_t early = Enter(1, 100).value();
  const uint64_t late = Enter(2, 100).value();
  EXPECT_THAT(Wake(2, 0), ElementsAre(Pair(early, false)));
  EXPECT_THAT(Wake(2, 0), IsEmpty());
  EXPECT_THAT(Wake(3, 0), ElementsAre(Pair(early, false), Pair(late, false)));
  EXPECT_EQ(waiters_.size(), 2u);
}

TEST_F(GroupWaitersTest, WhoseTimeIsOverIsCalledOnceMoreAndHasLeft) {
  const uint64_t first = Enter(1, 10).value();
  const uint64_t second = Enter(1, 20).value();
  EXPECT_EQ(waiters_.next_call(), At(10));
  EXPECT_THAT(Wake(1, 9), IsEmpty());
  EXPECT_THAT(Wake(1, 10), ElementsAre(Pair(first, true)));
  EXPECT_EQ(waiters_.next_call(), At(20));
  EXPECT_THAT(Wake(2, 30), ElementsAre(Pair(second, true)));
  EXPECT_EQ(waiters_.size(), 0u);
  EXPECT_EQ(waiters_.next_call(), TimePoint::max());
}

TEST_F(GroupWaitersTest, WhoWantsToBeCalledAgainIsOnce) {
  const auto record = [this](uint64_t id, bool time_is_over) {
    calls_.emplace_back(id, time_is_over);
  };
  const uint64_t id = waiters_.Enter(1, At(10), record, At(5)).value();
  EXPECT_EQ(waiters_.next_call(), At(5));
  EXPECT_THAT(Wake(1, 4), IsEmpty());
  EXPECT_THAT(Wake(1, 5), ElementsAre(Pair(id, false)));
  EXPECT_THAT(Wake(1, 6), IsEmpty());
  EXPECT_EQ(waiters_.next_call(), At(10));
}

TEST_F(GroupWaitersTest, WhoLeavesIsNotCalled) {
  const uint64_t id = Enter(1, 10).value();
  waiters_.Leave(id);
  waiters_.Leave(id);
  EXPECT_THAT(Wake(2, 10), IsEmpty());
}

TEST_F(GroupWaitersTest, MoreThanThereIsRoomForAreRefused) {
  const uint64_t first = Enter(1, 10).value();
  Enter(1, 10);
  EXPECT_TRUE(Enter(1, 10).has_value());
  EXPECT_FALSE(Enter(1, 10).has_value());
  waiters_.Leave(first);
  EXPECT_TRUE(Enter(1, 10).has_value());
  EXPECT_EQ(waiters_.size(), waiters_.max_size());
}

TEST_F(GroupWaitersTest, SoManyAreCalledAtOnceAndNobodyIsForgotten) {
  constexpr size_t kNumWaiters = 2 * GroupWaiters::kMaxCalls + 1;
  GroupWaiters waiters(kNumWaiters);
  size_t num_calls = 0;
  for (size_t i = 0; i < kNumWaiters; ++i) {
    const auto count = [&](uint64_t, bool) { ++num_calls; };
    ASSERT_TRUE(waiters.Enter(1, At(100), count).has_value());
  }
  EXPECT_TRUE(waiters.Wake(2, At(0)));
  EXPECT_EQ(num_calls, GroupWaiters::kMaxCalls);
  EXPECT_TRUE(waiters.Wake(2, At(0)));
  EXPECT_EQ(num_calls, 2 * GroupWaiters::kMaxCalls);
  EXPECT_FALSE(waiters.Wake(2, At(0)));
  EXPECT_EQ(num_calls, kNumWaiters);
  EXPECT_FALSE(waiters.Wake(2, At(0)));
  EXPECT_EQ(num_calls, kNumWaiters);
  EXPECT_TRUE(waiters.Wake(2, At(100)));
  EXPECT_EQ(waiters.size(), kNumWaiters - GroupWaiters::kMaxCalls);
}

TEST_F(GroupWaitersTest, AWaiterMayLeaveAndEnterWhileItIsCalled) {
  int num_calls = 0;
  const GroupWaiters::Waiter again = [&](uint64_t id, bool) {
    ++num_calls;
    waiters_.Leave(id);
    EXPECT_TRUE(Enter(2, 10).has_value());
  };
  ASSERT_TRUE(waiters_.Enter(1, At(10), again).has_value());
  EXPECT_THAT(Wake(2, 0), IsEmpty());
  EXPECT_EQ(num_calls, 1);
  EXPECT_EQ(waiters_.size(), 1u);
}

}  // namespace
}  // namespace skv::router
