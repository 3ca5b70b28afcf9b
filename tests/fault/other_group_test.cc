// The loss of one worker group is no affair of another: its streams go on without a pause, though
// those of the lost group come to it, and all have the tokens that they would have had.

#include <algorithm>
#include <csignal>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

// Less than the stall time-out: what waits for the lost group shows.
constexpr double kLongestPauseSecs = 2 * kSlowdown;
constexpr double kStallTimeoutSecs = 3 * kSlowdown;

// A stream that notes how long it ever stood still. Look often.
class WatchedCall {
 public:
  explicit WatchedCall(const Cluster& cluster)
      : call_(cluster.channel(), EndlessRequest(), kPatience) {}

  eval::StreamCall& call() { return call_; }
  double longest_pause_secs() const { return longest_pause_secs_; }
  // True once 50 tokens came since this was first asked.
  bool goes_on() {
    if (!goes_on_from_.has_value()) goes_on_from_ = num_tokens_;
    return num_tokens_ > *goes_on_from_ + 50;
  }

  void Look() {
    const TimePoint now = RealClock().Now();
    const size_t num_tokens = call_.num_tokens();
    if (num_tokens == num_tokens_) {
      longest_pause_secs_ = std::max(longest_pause_secs_, ToSeconds(now - last_progress_));
      return;
    }
    num_tokens_ = num_tokens;
    last_progress_ = now;
  }

 private:
  eval::StreamCall call_;
  size_t num_tokens_ = 0;
  std::optional<size_t> goes_on_from_;
  TimePoint last_progress_ = RealClock().Now();
  double longest_pause_secs_ = 0;
};

struct Fault {
  const char* name;
  int rank;
  int signal;
};

class OtherGroupTest : public ::testing::TestWithParam<Fault> {};
INSTANTIATE_TEST_SUITE_P(Faults, OtherGroupTest,
                         ::testing::Values(Fault{"KilledLeader", 0, SIGKILL},
                                           Fault{"KilledFollower", 1, SIGKILL},
                                           Fault{"StoppedLeader", 0, SIGSTOP},
                                           Fault{"StoppedFollower", 1, SIGSTOP}),
                         [](const auto& info) { return info.param.name; });

TEST_P(OtherGroupTest, AllStreamsGoOnAndTheOthersWithoutAPause) {
  ASSERT_OK_AND_ASSIGN(const auto cluster,
                       Cluster::Start({.num_groups = 2, .stall_timeout_secs = kStallTimeoutSecs}));
  ASSERT_TRUE(
      Eventually([&] { return cluster->Metric("router", "skv_router_groups", "healthy") == 2; }));
  std::vector<std::unique_ptr<WatchedCall>> calls;
  for (int i = 0; i < 4; ++i) {
    calls.push_back(std::make_unique<WatchedCall>(*cluster));
    ASSERT_TRUE(calls.back()->call().WaitForTokens(1));
  }
  const double num_victims = cluster->Metric("group 0 rank 0", "skv_worker_open_streams");
  ASSERT_EQ(num_victims, 2);
  const pid_t victim = cluster->Pid(absl::StrCat("group 0 rank ", GetParam().rank));
  ASSERT_GT(victim, 0);

  for (const auto& call : calls) call->Look();
  kill(victim, GetParam().signal);
  EXPECT_TRUE(Eventually([&] {
    for (const auto& call : calls) call->Look();
    return cluster->Metric("group 1 rank 0", "skv_worker_open_streams") == 4;
  }));
  EXPECT_TRUE(Eventually([&] {
    for (const auto& call : calls) call->Look();
    return std::ranges::all_of(calls, [](const auto& call) { return call->goes_on(); });
  })) << "a stream stands still after the loss";

  const auto paused = [](const auto& call) {
    return call->longest_pause_secs() > kLongestPauseSecs;
  };
  EXPECT_LE(std::ranges::count_if(calls, paused), num_victims);
  std::vector<std::vector<TokenId>> tokens;
  for (const auto& call : calls) {
    call->call().Cancel();
    tokens.push_back(call->call().Wait().tokens);
  }
  kill(victim, SIGCONT);
  const size_t shortest = std::ranges::min_element(tokens, {}, &std::vector<TokenId>::size)->size();
  v1::GenerateRequest again = EndlessRequest();
  again.set_max_tokens(static_cast<int64_t>(shortest));
  const eval::StreamResult undisturbed = eval::Call(cluster->channel(), again, kPatience);
  ASSERT_TRUE(undisturbed.status.ok()) << undisturbed.status.error_message();
  for (std::vector<TokenId>& some : tokens) {
    some.resize(shortest);
    EXPECT_EQ(some, undisturbed.tokens);
  }
}

}  // namespace
}  // namespace skv::e2e
