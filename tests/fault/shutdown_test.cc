// SIGTERM drains: what runs is finished, and the exit code is 0. SIGKILL leaves nothing behind.

#include <csignal>

#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

v1::GenerateRequest LongRequest() { return TextRequest("Once upon a time", 2000); }

void ExpectWhole(eval::StreamCall* call) {
  const eval::StreamResult result = call->Wait();
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.tokens.size(), 2000u);
}

TEST(ShutdownTest, ClusterFinishesItsStreamsAfterSigterm) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start());
  std::vector<pid_t> pids;
  for (const auto& process : cluster->processes()) pids.push_back(cluster->Pid(process.name));
  eval::StreamCall first(cluster->channel(), LongRequest(), kPatience);
  eval::StreamCall second(cluster->channel(), LongRequest(), kPatience);
  ASSERT_TRUE(first.WaitForTokens(1));
  ASSERT_TRUE(second.WaitForTokens(1));
  cluster->supervisor().Signal(SIGTERM);
  ExpectWhole(&first);
  ExpectWhole(&second);
  const std::optional<ExitState> end = cluster->supervisor().Wait(kPatience);
  ASSERT_TRUE(end.has_value());
  EXPECT_TRUE(end->ok()) << end->ToString() << cluster->Output();
  for (const pid_t pid : pids) EXPECT_FALSE(IsRunning(pid)) << pid;
}

// A worker and a router that serves it.
struct WorkerAndRouter {
  explicit WorkerAndRouter(const std::string& drain_timeout_secs)
      : model(TinyModelOptions()),
        port(FindFreePorts()),
        worker("skv-worker",
               {"--model", model.path(), "--threads", "1", "--port", std::to_string(port + 30),
                "--drain-timeout-secs", drain_timeout_secs}),
        router("skv-router", {"--worker-urls", "127.0.0.1:" + std::to_string(port + 30), "--port",
                              std::to_string(port), "--migration-wait-ms", "0"}),
        channel(eval::ConnectTo("127.0.0.1:" + std::to_string(port))) {}

  bool WaitUntilServing() {
    // An idle channel looks at its back-off only every 5 s.
    return channel->WaitForConnected(std::chrono::system_clock::now() + kPatience) &&
           Eventually(
               [&] { return eval::Call(channel, TextRequest("Hello", 1), kPatience).status.ok(); });
  }

  const loader::TinyLlamaFile model;
  const int port;
  Program worker, router;
  const std::shared_ptr<grpc::Channel> channel;
};

TEST(ShutdownTest, WorkerAndRouterDrainAndEndWithCodeZero) {
  WorkerAndRouter pair(/*drain_timeout_secs=*/"60");
  ASSERT_TRUE(pair.WaitUntilServing()) << pair.worker.Output() << pair.router.Output();
  eval::StreamCall call(pair.channel, LongRequest(), kPatience);
  ASSERT_TRUE(call.WaitForTokens(1));
  pair.worker.child().Signal(SIGTERM);
  pair.router.child().Signal(SIGTERM);
  ExpectWhole(&call);
  for (Program* program : {&pair.worker, &pair.router}) {
    const std::optional<ExitState> end = program->child().Wait(kPatience);
    ASSERT_TRUE(end.has_value()) << program->Output();
    EXPECT_TRUE(end->ok()) << end->ToString() << program->Output();
  }
}

TEST(ShutdownTest, WorkerWhoseDrainRunsOutOfTimeEndsItsStreamsAsUnavailable) {
  WorkerAndRouter pair(/*drain_timeout_secs=*/"0");
  ASSERT_TRUE(pair.WaitUntilServing()) << pair.worker.Output() << pair.router.Output();
  eval::StreamCall call(pair.channel, EndlessRequest(), kPatience);
  ASSERT_TRUE(call.WaitForTokens(1));
  pair.worker.child().Signal(SIGTERM);
  const eval::StreamResult result = call.Wait();
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::UNAVAILABLE)
      << result.status.error_message();
  const std::optional<ExitState> end = pair.worker.child().Wait(kPatience);
  ASSERT_TRUE(end.has_value()) << pair.worker.Output();
  EXPECT_TRUE(end->ok()) << end->ToString() << pair.worker.Output();
}

TEST(ShutdownTest, KilledSupervisorLeavesNoProcess) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start());
  std::vector<pid_t> pids;
  for (const auto& process : cluster->processes()) pids.push_back(cluster->Pid(process.name));
  for (const pid_t pid : pids) ASSERT_TRUE(IsRunning(pid)) << pid;
  cluster->supervisor().Signal(SIGKILL);
  for (const pid_t pid : pids) {
    EXPECT_TRUE(Eventually([&] { return !IsRunning(pid); })) << pid;
  }
}

}  // namespace
}  // namespace skv::e2e
