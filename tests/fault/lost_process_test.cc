// Processes of a running cluster are killed or stopped: streams that wait for no other group end
// with UNAVAILABLE soon, nothing hangs, and the cluster serves again.

#include <csignal>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/testing/status_matchers.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

namespace health_pb = grpc::health::v1;

// As the router has it by default.
constexpr double kStallTimeoutSecs = 3;
constexpr const char* kNoWait = "--router-flag=--migration-wait-ms=0";
// What is promised from the loss of a process to the status of its streams.
constexpr double kLostSeconds = 5 * kSlowdown;

// Sends `signal` to the process and returns when.
TimePoint Hit(pid_t pid, int signal) {
  const TimePoint now = RealClock().Now();
  EXPECT_GT(pid, 0);
  if (pid > 0) kill(pid, signal);
  return now;
}

// Waits for the end of `call`, which must be UNAVAILABLE and soon after `hit`.
void ExpectLost(eval::StreamCall* call, TimePoint hit) {
  const eval::StreamResult result = call->Wait();
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::UNAVAILABLE)
      << result.status.error_message();
  EXPECT_LE(ToSeconds(RealClock().Now() - hit), kLostSeconds);
}

class LostRankTest : public ::testing::TestWithParam<int> {
 protected:
  static std::string Rank() { return absl::StrCat("group 0 rank ", GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(LeaderAndFollower, LostRankTest, ::testing::Values(0, 1));

TEST_P(LostRankTest, KilledRankEndsItsStreamsAndTheGroupComesBack) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.flags = {kNoWait}}));
  eval::StreamCall call(cluster->channel(), EndlessRequest(), kPatience);
  ASSERT_TRUE(call.WaitForTokens(5));
  const pid_t before = cluster->Pid(Rank());
  ExpectLost(&call, Hit(before, SIGKILL));
  EXPECT_TRUE(Eventually([&] { return cluster->Serves(); })) << cluster->Output();
  EXPECT_NE(cluster->Pid(Rank()), before);
}

TEST_P(LostRankTest, StoppedRankEndsItsStreamsAndServesAgainOnceItGoesOn) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.stall_timeout_secs = kStallTimeoutSecs,
                                                           .flags = {kNoWait}}));
  eval::StreamCall call(cluster->channel(), EndlessRequest(), kPatience);
  ASSERT_TRUE(call.WaitForTokens(5));
  const pid_t pid = cluster->Pid(Rank());
  ExpectLost(&call, Hit(pid, SIGSTOP));
  kill(pid, SIGCONT);
  EXPECT_TRUE(Eventually([&] { return cluster->Serves(); })) << cluster->Output();
}

TEST_P(LostRankTest, RequestToAGroupThatStoppedWhileIdleDoesNotHang) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.stall_timeout_secs = kStallTimeoutSecs,
                                                           .flags = {kNoWait}}));
  ASSERT_TRUE(cluster->Serves());
  const pid_t pid = cluster->Pid(Rank());
  const TimePoint hit = Hit(pid, SIGSTOP);
  eval::StreamCall call(cluster->channel(), TextRequest("Hello", 4), kPatience);
  ExpectLost(&call, hit);
  kill(pid, SIGCONT);
  EXPECT_TRUE(Eventually([&] { return cluster->Serves(); })) << cluster->Output();
}

health_pb::HealthCheckResponse::ServingStatus Health(
    const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  health_pb::HealthCheckResponse response;
  const auto stub = health_pb::Health::NewStub(channel);
  (void)stub->Check(&context, health_pb::HealthCheckRequest(), &response);
  return response.status();
}

TEST(LostFollowerTest, GroupWithAStoppedFollowerIsNotServingBeforeTheGroupBreaks) {
  const loader::TinyLlamaFile model(TinyModelOptions());
  const std::string port = absl::StrCat(FindFreePorts());
  const auto arguments = [&](const std::string& rank) -> std::vector<std::string> {
    return {"--model",
            model.path(),
            "--threads",
            "1",
            "--rank",
            rank,
            "--port",
            port,
            "--tensor-parallel-size",
            "2",
            "--group-path",
            "/dev/shm/skv-health-test-" + port,
            "--max-step-age-secs",
            "1"};
  };
  Program leader("skv-worker", arguments("0")), follower("skv-worker", arguments("1"));
  const auto channel = eval::ConnectTo("127.0.0.1:" + port);
  ASSERT_TRUE(Eventually([&] {
    return Health(channel) == health_pb::HealthCheckResponse::SERVING;
  })) << leader.Output()
      << follower.Output();
  follower.child().Signal(SIGSTOP);
  EXPECT_TRUE(Eventually([&] {
    return Health(channel) == health_pb::HealthCheckResponse::NOT_SERVING;
  })) << leader.Output();
  follower.child().Signal(SIGCONT);
}

TEST(LostRouterTest, KilledRouterFreesTheWorkersAndComesBack) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start());
  eval::StreamCall call(cluster->channel(), EndlessRequest(), kPatience);
  ASSERT_TRUE(call.WaitForTokens(5));
  ExpectLost(&call, Hit(cluster->Pid("router"), SIGKILL));
  EXPECT_TRUE(Eventually([&] {
    return cluster->Pid("group 0 rank 0") != 0 &&
           cluster->Metric("group 0 rank 0", "skv_worker_open_streams") == 0 &&
           cluster->Metric("group 0 rank 0", "skv_worker_kv_slot_pages") == 0;
  }));
  EXPECT_TRUE(Eventually([&] { return cluster->Serves(); })) << cluster->Output();
}

TEST(RetryTest, GroupLostBeforeTheFirstTokenIsReplacedByAnother) {
  ASSERT_OK_AND_ASSIGN(const auto cluster,
                       Cluster::Start({.num_groups = 2, .tensor_parallel_size = 1}));
  ASSERT_TRUE(
      Eventually([&] { return cluster->Metric("router", "skv_router_groups", "healthy") == 2; }));
  const pid_t victim = cluster->Pid("group 0 rank 0");
  ASSERT_GT(victim, 0);
  kill(victim, SIGSTOP);
  // The router sends these to different groups, so one waits for the stopped one.
  eval::StreamCall first(cluster->channel(), TextRequest("Hello", 4), kPatience);
  eval::StreamCall second(cluster->channel(), TextRequest("Hello", 4), kPatience);
  ASSERT_TRUE(Eventually([&] {
    return cluster->Metric("router", "skv_router_requests_in_flight") == 1 &&
           first.ended() != second.ended();
  }));
  kill(victim, SIGKILL);
  const eval::StreamResult a = first.Wait(), b = second.Wait();
  EXPECT_TRUE(a.status.ok()) << a.status.error_message();
  EXPECT_TRUE(b.status.ok()) << b.status.error_message();
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.num_retries + b.num_retries, 1);
}

}  // namespace
}  // namespace skv::e2e
