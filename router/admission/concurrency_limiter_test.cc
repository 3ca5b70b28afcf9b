#include "router/admission/concurrency_limiter.h"

#include <thread>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::router {
namespace {

TEST(ConcurrencyLimiterTest, RefusesOverTheCapAndNamesTheFlag) {
  ConcurrencyLimiter limiter(2);
  auto first = limiter.Enter();
  const auto second = limiter.Enter();
  ASSERT_OK(second);
  EXPECT_THAT(limiter.Enter(), StatusIs(absl::StatusCode::kResourceExhausted,
                                        testing::HasSubstr("--max-concurrent-requests 2")));
  first = absl::UnknownError("given back");
  EXPECT_EQ(limiter.in_flight(), 1);
  EXPECT_OK(limiter.Enter());
}

TEST(ConcurrencyLimiterTest, AClosedDoorLetsOutAndNobodyIn) {
  ConcurrencyLimiter limiter(2);
  auto ticket = limiter.Enter();
  limiter.Close();
  EXPECT_THAT(limiter.Enter(),
              StatusIs(absl::StatusCode::kUnavailable, testing::HasSubstr("draining")));
  EXPECT_FALSE(limiter.WaitUntilEmpty(std::chrono::milliseconds(1)));
  std::thread leaver([ticket = *std::move(ticket)]() mutable { ticket.reset(); });
  EXPECT_TRUE(limiter.WaitUntilEmpty(std::chrono::seconds(30)));
  leaver.join();
}

TEST(ConcurrencyLimiterTest, TheLastToLeaveWakesWhoWaits) {
  for (int round = 0; round < 100; ++round) {  // in some the waiter comes first
    ConcurrencyLimiter limiter(1);
    std::thread leaver([ticket = limiter.Enter().value()]() mutable { ticket.reset(); });
    EXPECT_TRUE(limiter.WaitUntilEmpty(std::chrono::hours(1)));  // longer than a test may take
    leaver.join();
  }
}

TEST(ConcurrencyLimiterTest, ATicketMayOutliveIt) {
  auto limiter = std::make_unique<ConcurrencyLimiter>(1);
  ConcurrencyLimiter::Ticket ticket = limiter->Enter().value();
  const std::weak_ptr<void> watched = ticket;
  limiter.reset();
  ticket.reset();  // writes to what it counts in
  EXPECT_TRUE(watched.expired());
}

}  // namespace
}  // namespace skv::router
