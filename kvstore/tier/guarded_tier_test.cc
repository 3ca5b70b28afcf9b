#include "kvstore/tier/guarded_tier.h"

#include "common/testing/fake_clock.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

// Answers as it is told.
class FakeTier : public Tier {
 public:
  struct State {
    absl::Status answer;
    int num_calls = 0;
  };
  explicit FakeTier(State* state) : state_(*state) {}

  std::string_view name() const override { return "fake"; }
  absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> Get(std::span<const TierKey>,
                                                             TimePoint) override {
    ++state_.num_calls;
    if (!state_.answer.ok()) return state_.answer;
    return std::vector<absl::StatusOr<TierValue>>();
  }
  absl::Status Put(std::span<const TierBlock>, TimePoint) override {
    ++state_.num_calls;
    return state_.answer;
  }
  absl::Status Erase(std::span<const TierKey>, TimePoint) override {
    ++state_.num_calls;
    return state_.answer;
  }
  TierGauges gauges() const override { return {.is_on = true, .num_failures = 100}; }

 private:
  State& state_;
};

class GuardedTierTest : public testing::Test {
 protected:
  // Whether the tier was reached.
  bool Call() {
    const int before = state_.num_calls;
    const absl::Status status = tier_.Put({}, TimePoint());
    const bool is_reached = state_.num_calls > before;
    EXPECT_EQ(status.code(), is_reached ? state_.answer.code() : StatusCode::kUnavailable);
    return is_reached;
  }

  FakeTier::State state_;
  FakeClock clock_;
  GuardedTier tier_{std::make_unique<FakeTier>(&state_), clock_};
};

TEST_F(GuardedTierTest, OnlyUnavailableTurnsItOff) {
  for (const absl::Status& answer :
       {absl::OkStatus(), absl::ResourceExhaustedError("full"), absl::InvalidArgumentError("no")}) {
    state_.answer = answer;
    EXPECT_TRUE(Call());
    EXPECT_TRUE(Call());
    EXPECT_TRUE(tier_.gauges().is_on);
  }
  state_.answer = absl::UnavailableError("gone");
  EXPECT_TRUE(Call());
  EXPECT_FALSE(tier_.gauges().is_on);
  EXPECT_FALSE(Call());
  EXPECT_THAT(tier_.Put({}, TimePoint()), StatusIs(StatusCode::kUnavailable, HasSubstr("1 s")));
  EXPECT_EQ(tier_.gauges().num_failures, 102u);
}

TEST_F(GuardedTierTest, EveryKindOfCallCountsAndIsHeldBack) {
  state_.answer = absl::UnavailableError("gone");
  EXPECT_THAT(tier_.Get({}, TimePoint()), StatusIs(StatusCode::kUnavailable, "gone"));
  EXPECT_THAT(tier_.Get({}, TimePoint()), StatusIs(StatusCode::kUnavailable, HasSubstr("is off")));
  EXPECT_THAT(tier_.Erase({}, TimePoint()),
              StatusIs(StatusCode::kUnavailable, HasSubstr("is off")));
  EXPECT_EQ(state_.num_calls, 1);
  clock_.Advance(seconds(1));
  EXPECT_THAT(tier_.Erase({}, TimePoint()), StatusIs(StatusCode::kUnavailable, "gone"));
  EXPECT_EQ(state_.num_calls, 2);
}

TEST_F(GuardedTierTest, ThePauseDoublesUpToTheLongest) {
  state_.answer = absl::UnavailableError("gone");
  EXPECT_TRUE(Call());
  for (const int pause : {1, 2, 4, 8, 16, 30, 30}) {
    clock_.Advance(seconds(pause) - milliseconds(1));
    EXPECT_FALSE(Call()) << pause;
    clock_.Advance(milliseconds(1));
    EXPECT_TRUE(Call()) << pause;
  }
}

TEST_F(GuardedTierTest, OneAnswerTurnsItOnAndThePauseIsShortAgain) {
  state_.answer = absl::UnavailableError("gone");
  EXPECT_TRUE(Call());
  clock_.Advance(seconds(1));
  EXPECT_TRUE(Call());
  clock_.Advance(seconds(2));
  state_.answer = absl::OkStatus();
  EXPECT_TRUE(Call());
  EXPECT_TRUE(tier_.gauges().is_on);
  EXPECT_TRUE(Call());
  state_.answer = absl::UnavailableError("gone");
  EXPECT_TRUE(Call());
  clock_.Advance(seconds(1));
  EXPECT_TRUE(Call());
}

}  // namespace
}  // namespace skv::kvstore
