// A worker dies, stalls or is told to go while it streams: its streams go on in another group, and
// nobody can tell from their tokens.

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

constexpr int kCutAfter = 30;  // tokens of each stream before the fault
constexpr double kStallTimeoutSecs = 3 * kSlowdown;

struct Fault {
  const char* name;
  int tensor_parallel_size;
  int rank;
  int signal;
  const char* reason;
  int num_tokens;     // so many that the streams last longer than the fault takes
  double pause_secs;  // that a stream may stand still, detection included
};

// Policies that choose in different ways, greedy and seeded, with all that is told beside tokens.
std::vector<v1::GenerateRequest> MakeRequests(int num_tokens) {
  std::string text;
  for (int i = 0; i < 12; ++i) absl::StrAppend(&text, "This is sentence ", i, " of it. ");
  std::vector<v1::GenerateRequest> requests;
  for (const char* policy : {"full", "sentencekv", "quest", "h2o", "streaming", "pyramidkv"}) {
    v1::GenerateRequest request = TextRequest(text, num_tokens);
    request.mutable_kv_policy()->set_name(policy);
    if (requests.size() % 2 == 1) {
      request.set_temperature(1);
      request.set_seed(requests.size());
      request.set_repetition_penalty(1.1);
    }
    if (std::string(policy) != "full") request.mutable_kv_policy()->set_max_capacity_prompts(48);
    request.set_explain(requests.size() < 2);
    requests.push_back(std::move(request));
  }
  requests[1].set_min_recall(0.5);
  return requests;
}

// Whatever a client may compare.
void ExpectSame(const eval::StreamResult& got, const eval::StreamResult& want) {
  ASSERT_TRUE(got.status.ok()) << got.status.error_message();
  EXPECT_EQ(got.tokens, want.tokens);
  EXPECT_EQ(got.text, want.text);
  EXPECT_EQ(got.finish_reason, want.finish_reason);
  // What choosing cost is counted otherwise where positions are replayed together.
  v1::KvReport got_report = got.kv_report, want_report = want.kv_report;
  for (v1::KvReport* report : {&got_report, &want_report}) {
    report->clear_choosing_tokens();
    report->clear_read_share();
  }
  EXPECT_EQ(got_report.SerializeAsString(), want_report.SerializeAsString());
  ASSERT_EQ(got.explanations.size(), want.explanations.size());
  for (size_t i = 0; i < got.explanations.size(); ++i) {
    EXPECT_EQ(got.explanations[i].SerializeAsString(), want.explanations[i].SerializeAsString());
  }
}

using Calls = std::vector<std::unique_ptr<eval::StreamCall>>;

Calls StartAll(const Cluster& cluster, const std::vector<v1::GenerateRequest>& requests) {
  Calls calls;
  for (const v1::GenerateRequest& request : requests) {
    calls.push_back(std::make_unique<eval::StreamCall>(cluster.channel(), request, kPatience));
  }
  return calls;
}

class MigrationTest : public ::testing::TestWithParam<Fault> {};
INSTANTIATE_TEST_SUITE_P(
    Faults, MigrationTest,
    ::testing::Values(Fault{"KilledWorker", 1, 0, SIGKILL, "lost", 2000, 2},
                      Fault{"KilledLeader", 2, 0, SIGKILL, "lost", 2000, 2},
                      Fault{"KilledFollower", 2, 1, SIGKILL, "lost", 2000, 2},
                      Fault{"StoppedWorker", 1, 0, SIGSTOP, "stalled", 2000, 5},
                      Fault{"StoppedLeader", 2, 0, SIGSTOP, "stalled", 2000, 5},
                      Fault{"StoppedFollower", 2, 1, SIGSTOP, "stalled", 2000, 5},
                      // What still runs after a second is cut.
                      Fault{"TerminatedWorker", 1, 0, SIGTERM, "drained", 5000, 3},
                      Fault{"TerminatedLeader", 2, 0, SIGTERM, "drained", 5000, 3}),
    [](const auto& info) { return info.param.name; });

TEST_P(MigrationTest, TheTokensAreThoseOfTheUndisturbedRun) {
  const Fault& fault = GetParam();
  ASSERT_OK_AND_ASSIGN(const auto cluster,
                       Cluster::Start({.num_groups = 2,
                                       .tensor_parallel_size = fault.tensor_parallel_size,
                                       .stall_timeout_secs = kStallTimeoutSecs,
                                       .flags = {"--worker-flag=--drain-timeout-secs=1"}}));
  ASSERT_TRUE(
      Eventually([&] { return cluster->Metric("router", "skv_router_groups", "healthy") == 2; }));
  const std::vector<v1::GenerateRequest> requests = MakeRequests(fault.num_tokens);
  Calls undisturbed = StartAll(*cluster, requests);
  std::vector<eval::StreamResult> want;
  for (const auto& call : undisturbed) want.push_back(call->Wait());

  Calls calls = StartAll(*cluster, requests);
  for (const auto& call : calls) ASSERT_TRUE(call->WaitForTokens(kCutAfter));
  const pid_t victim = cluster->Pid(absl::StrCat("group 0 rank ", fault.rank));
  ASSERT_GT(victim, 0);
  kill(victim, fault.signal);
  int num_migrations = 0;
  for (size_t i = 0; i < calls.size(); ++i) {
    SCOPED_TRACE(absl::StrCat(i, ": ", requests[i].kv_policy().name()));
    const eval::StreamResult got = calls[i]->Wait();
    ExpectSame(got, want[i]);
    EXPECT_EQ(got.tokens.size(), static_cast<size_t>(fault.num_tokens));
    EXPECT_LE(eval::LongestPauseSeconds(got), fault.pause_secs * kSlowdown);
    num_migrations += got.num_migrations;
  }
  kill(victim, SIGCONT);
  EXPECT_GT(num_migrations, 0);
  EXPECT_EQ(cluster->Metric("router", "skv_router_migrations_total",
                            absl::StrCat("reason=\"", fault.reason, "\"")),
            num_migrations);
  EXPECT_EQ(cluster->Metric("router", "skv_router_outstanding_tokens"), 0);
  EXPECT_TRUE(Eventually([&] {
    return cluster->Metric("router", "skv_router_groups", "healthy") == 2;
  })) << cluster->Output();
}

TEST(MigrationOfSamplesTest, EachGoesOnAlone) {
  ASSERT_OK_AND_ASSIGN(const auto cluster,
                       Cluster::Start({.num_groups = 2, .tensor_parallel_size = 1}));
  ASSERT_TRUE(
      Eventually([&] { return cluster->Metric("router", "skv_router_groups", "healthy") == 2; }));
  v1::GenerateRequest request = TextRequest("Once upon a time", 2000);
  request.set_temperature(1);
  request.set_seed(11);
  request.set_n(3);
  const eval::StreamResult want = eval::Call(cluster->channel(), request, kPatience);
  ASSERT_TRUE(want.status.ok()) << want.status.error_message();

  eval::StreamCall call(cluster->channel(), request, kPatience);
  ASSERT_TRUE(call.WaitForTokens(3 * kCutAfter));
  for (const int group : {0, 1}) {
    const std::string leader = absl::StrCat("group ", group, " rank 0");
    if (cluster->Metric(leader, "skv_worker_open_streams") > 0) {
      kill(cluster->Pid(leader), SIGKILL);
      break;
    }
  }
  const eval::StreamResult got = call.Wait();
  ASSERT_TRUE(got.status.ok()) << got.status.error_message();
  EXPECT_EQ(got.num_migrations, 3);
  EXPECT_EQ(got.sample_tokens, want.sample_tokens);
}

}  // namespace
}  // namespace skv::e2e
