// Clusters with a skv-kvstore: the store, or a worker that writes to it, is killed or stopped while
// requests run. None of them fails, and the tokens are those of a cluster where nothing happens.

#include <algorithm>
#include <csignal>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

// What is promised of a stream that runs while the store stands still.
constexpr double kMaxPauseSeconds = 5 * kSlowdown;
constexpr int kLongStream = 1500;
constexpr const char* kQueried = "skv_worker_prefix_cache_queried_tokens_total";
constexpr const char* kHit = "skv_worker_prefix_cache_hit_tokens_total";
constexpr const char* kHeld = "skv_worker_prefix_cache_requests_held";
constexpr const char* kShared = "skv_worker_prefix_cache_shared";

ClusterOptions WithStore(ClusterOptions options) {
  options.flags = {"--kvstore", "--kvstore-flag=--arena-bytes=67108864"};
  return options;
}

// Some thousands of tokens.
v1::GenerateRequest LongPrompt(int number, int max_tokens = 8) {
  std::string text;
  for (int i = 0; i < 600; ++i) absl::StrAppend(&text, "Sentence ", i, " of text ", number, ". ");
  return TextRequest(text, max_tokens);
}

// Computed as if nobody had asked before.
std::vector<TokenId> Undisturbed(const Cluster& cluster, v1::GenerateRequest request) {
  request.set_cache_salt("alone");
  const eval::StreamResult result = eval::Call(cluster.channel(), request, kPatience);
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  return result.tokens;
}

void ExpectTokens(eval::StreamCall* call, const std::vector<TokenId>& want) {
  const eval::StreamResult result = call->Wait();
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.tokens, want);
}

// The leaders, which have the metric.
bool AllShare(const Cluster& cluster) {
  return std::ranges::all_of(cluster.processes(), [&](const eval::ProcessEndpoint& process) {
    return !process.name.ends_with("rank 0") || cluster.Metric(process.name, kShared) == 1;
  });
}

// The seconds of its longest pause between two tokens.
double LongestPause(const eval::StreamCall& call) {
  size_t num_tokens = call.num_tokens();
  TimePoint last = RealClock().Now();
  Duration longest{};
  while (!call.ended()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const TimePoint now = RealClock().Now();
    longest = std::max(longest, now - last);
    if (call.num_tokens() == num_tokens) continue;
    num_tokens = call.num_tokens();
    last = now;
  }
  return ToSeconds(longest);
}

class LostWriterTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(KilledOrStopped, LostWriterTest, ::testing::Values(SIGKILL, SIGSTOP));

TEST_P(LostWriterTest, AGroupThatWaitsGoesOnWhenTheOneThatWritesIsLost) {
  ASSERT_OK_AND_ASSIGN(const auto cluster,
                       Cluster::Start(WithStore({.num_groups = 2, .tensor_parallel_size = 1})));
  ASSERT_TRUE(
      Eventually([&] { return cluster->Metric("router", "skv_router_groups", "healthy") == 2; }));
  const std::vector<TokenId> want = Undisturbed(*cluster, LongPrompt(1));
  // The router sends these to different groups.
  eval::StreamCall first(cluster->channel(), LongPrompt(1), kPatience);
  eval::StreamCall second(cluster->channel(), LongPrompt(1), kPatience);
  std::string writer;
  ASSERT_TRUE(Eventually([&] {
    if (cluster->Metric("group 0 rank 0", kHeld) == 1) writer = "group 1 rank 0";
    if (cluster->Metric("group 1 rank 0", kHeld) == 1) writer = "group 0 rank 0";
    return !writer.empty() || (first.ended() && second.ended());
  }));
  ASSERT_NE(writer, "") << "nobody was seen to wait";
  const pid_t pid = cluster->Pid(writer);
  ASSERT_GT(pid, 0);
  kill(pid, GetParam());
  EXPECT_TRUE(Eventually([&] { return first.ended() || second.ended(); }));
  if (GetParam() == SIGSTOP) kill(pid, SIGCONT);
  ExpectTokens(&first, want);
  ExpectTokens(&second, want);
}

TEST(LostStoreTest, WhenTheStoreIsKilledNoRequestFailsAndTheNextStoreIsUsed) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start(WithStore({.num_groups = 2})));
  ASSERT_TRUE(Eventually([&] { return AllShare(*cluster); }));
  const std::vector<TokenId> want = Undisturbed(*cluster, LongPrompt(1));
  const std::vector<TokenId> want_long = Undisturbed(*cluster, LongPrompt(2, kLongStream));
  eval::StreamCall stream(cluster->channel(), LongPrompt(2, kLongStream), kPatience);
  ASSERT_TRUE(stream.WaitForTokens(5));
  eval::StreamCall first(cluster->channel(), LongPrompt(1), kPatience);
  eval::StreamCall second(cluster->channel(), LongPrompt(1), kPatience);
  const pid_t store = cluster->Pid("kvstore");
  ASSERT_GT(store, 0);
  kill(store, SIGKILL);
  ExpectTokens(&first, want);
  ExpectTokens(&second, want);
  ExpectTokens(&stream, want_long);

  ASSERT_TRUE(Eventually([&] { return AllShare(*cluster); })) << cluster->Output();
  EXPECT_NE(cluster->Pid("kvstore"), store);
  const auto sum = [&](const char* metric) {
    return cluster->Metric("group 0 rank 0", metric) + cluster->Metric("group 1 rank 0", metric);
  };
  // Once the other ranks have connected, too.
  EXPECT_TRUE(Eventually([&] {
    const double hits = sum(kHit), queries = sum(kQueried);
    EXPECT_EQ(eval::Call(cluster->channel(), LongPrompt(1), kPatience).tokens, want);
    return Eventually([&] { return sum(kQueried) > queries; }) &&
           sum(kHit) - hits > (sum(kQueried) - queries) / 2;
  }));
}

TEST(LostStoreTest, WhenTheStoreStandsStillStreamsPauseForSecondsAtMost) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start(WithStore({})));
  ASSERT_TRUE(Eventually([&] { return AllShare(*cluster); }));
  const std::vector<TokenId> want = Undisturbed(*cluster, LongPrompt(1));
  const std::vector<TokenId> want_long = Undisturbed(*cluster, LongPrompt(2, kLongStream));
  eval::StreamCall stream(cluster->channel(), LongPrompt(2, kLongStream), kPatience);
  ASSERT_TRUE(stream.WaitForTokens(5));
  const pid_t store = cluster->Pid("kvstore");
  ASSERT_GT(store, 0);
  kill(store, SIGSTOP);
  eval::StreamCall first(cluster->channel(), LongPrompt(1), kPatience);
  eval::StreamCall second(cluster->channel(), LongPrompt(1), kPatience);
  const double pause = LongestPause(stream);
  EXPECT_LE(pause, kMaxPauseSeconds);
  EXPECT_GT(pause, 1) << "the stream had ended before";
  ExpectTokens(&first, want);
  ExpectTokens(&second, want);
  ExpectTokens(&stream, want_long);
  kill(store, SIGCONT);
  EXPECT_TRUE(Eventually([&] { return AllShare(*cluster); })) << cluster->Output();
}

}  // namespace
}  // namespace skv::e2e
