// The only group of a cluster dies and is restarted: its requests wait for it and go on, and nobody
// can tell from their tokens.

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

constexpr int kCutAfter = 30;  // tokens of each stream before the fault

double Waits(const Cluster& cluster, const char* outcome) {
  return cluster.Metric("router", "skv_router_waits_total", outcome);
}

std::vector<v1::GenerateRequest> MakeRequests() {
  std::vector<v1::GenerateRequest> requests;
  for (const char* policy : {"full", "sentencekv", "h2o"}) {
    v1::GenerateRequest request =
        TextRequest("This is a sentence. This is one, too. And this is the last of them.", 1000);
    request.mutable_kv_policy()->set_name(policy);
    if (requests.size() % 2 == 1) {
      request.set_temperature(1);
      request.set_seed(7);
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

struct Victim {
  const char* name;
  int tensor_parallel_size;
  int rank;
};

class OnlyGroupTest : public ::testing::TestWithParam<Victim> {};
INSTANTIATE_TEST_SUITE_P(Victims, OnlyGroupTest,
                         ::testing::Values(Victim{"Worker", 1, 0}, Victim{"Follower", 2, 1}),
                         [](const auto& info) { return info.param.name; });

TEST_P(OnlyGroupTest, KilledGroupGoesOnWithItsStreamsOnceItHasRestarted) {
  ASSERT_OK_AND_ASSIGN(
      const auto cluster,
      Cluster::Start({.tensor_parallel_size = GetParam().tensor_parallel_size,
                      .flags = {absl::StrCat("--router-flag=--migration-wait-ms=",
                                             std::chrono::milliseconds(kPatience).count())}}));
  const std::vector<v1::GenerateRequest> requests = MakeRequests();
  std::vector<eval::StreamResult> want;
  for (const v1::GenerateRequest& request : requests) {
    want.push_back(eval::Call(cluster->channel(), request, kPatience));
    ASSERT_TRUE(want.back().status.ok()) << want.back().status.error_message();
  }

  std::vector<std::unique_ptr<eval::StreamCall>> calls;
  for (const v1::GenerateRequest& request : requests) {
    calls.push_back(std::make_unique<eval::StreamCall>(cluster->channel(), request, kPatience));
  }
  for (const auto& call : calls) ASSERT_TRUE(call->WaitForTokens(kCutAfter));
  const pid_t victim = cluster->Pid(absl::StrCat("group 0 rank ", GetParam().rank));
  ASSERT_GT(victim, 0);
  kill(victim, SIGKILL);
  for (size_t i = 0; i < calls.size(); ++i) {
    SCOPED_TRACE(requests[i].kv_policy().name());
    const eval::StreamResult got = calls[i]->Wait();
    EXPECT_TRUE(got.status.ok()) << got.status.error_message() << cluster->Output();
    EXPECT_EQ(got.tokens, want[i].tokens);
    EXPECT_EQ(got.text, want[i].text);
    EXPECT_EQ(got.num_migrations, 1);
  }
  EXPECT_EQ(Waits(*cluster, "resumed"), static_cast<double>(requests.size()));
  EXPECT_EQ(cluster->Metric("router", "skv_router_waiting_streams"), 0);
}

TEST(WaitingStreamTest, RequestThatWasNotAnsweredWaitsForTheKilledGroupToo) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.tensor_parallel_size = 1}));
  const v1::GenerateRequest request = TextRequest("Hello", 4);
  const eval::StreamResult want = eval::Call(cluster->channel(), request, kPatience);
  ASSERT_TRUE(want.status.ok()) << want.status.error_message();
  const pid_t victim = cluster->Pid("group 0 rank 0");
  ASSERT_GT(victim, 0);
  kill(victim, SIGSTOP);
  eval::StreamCall call(cluster->channel(), request, kPatience);
  ASSERT_TRUE(
      Eventually([&] { return cluster->Metric("router", "skv_router_outstanding_tokens") > 0; }));
  kill(victim, SIGKILL);
  const eval::StreamResult got = call.Wait();
  EXPECT_TRUE(got.status.ok()) << got.status.error_message() << cluster->Output();
  EXPECT_EQ(got.tokens, want.tokens);
  EXPECT_EQ(got.num_retries, 1);
}

// The group never comes back: its supervisor stands still.
TEST(WaitingStreamTest, WaitEndsWithItsClientAndWithItsTime) {
  ASSERT_OK_AND_ASSIGN(const auto cluster,
                       Cluster::Start({.tensor_parallel_size = 1,
                                       .flags = {"--router-flag=--migration-wait-ms=3000"}}));
  const pid_t victim = cluster->Pid("group 0 rank 0");
  ASSERT_GT(victim, 0);
  auto leaver = std::make_unique<eval::StreamCall>(cluster->channel(), EndlessRequest(), kPatience);
  eval::StreamCall stayer(cluster->channel(), EndlessRequest(), kPatience);
  ASSERT_TRUE(leaver->WaitForTokens(5));
  ASSERT_TRUE(stayer.WaitForTokens(5));
  cluster->supervisor().Signal(SIGSTOP);
  kill(victim, SIGKILL);
  EXPECT_TRUE(
      Eventually([&] { return cluster->Metric("router", "skv_router_waiting_streams") == 2; }));
  leaver->Cancel();
  EXPECT_TRUE(
      Eventually([&] { return cluster->Metric("router", "skv_router_waiting_streams") < 2; }));
  EXPECT_EQ(leaver->Wait().status.error_code(), grpc::StatusCode::CANCELLED);
  const eval::StreamResult result = stayer.Wait();
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(result.status.error_message(), ::testing::HasSubstr("--migration-wait-ms 3000"));
  EXPECT_EQ(Waits(*cluster, "expired"), 1);
  cluster->supervisor().Signal(SIGCONT);
}

}  // namespace
}  // namespace skv::e2e
