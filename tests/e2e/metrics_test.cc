#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

constexpr const char* kLeader = "group 0 rank 0";

TEST(MetricsTest, AFinishedRequestIsCountedUnderOurNamesAndUnderThoseOfVllm) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.tensor_parallel_size = 1}));
  const std::vector<std::pair<const char*, double>> expected = {
      {"skv_worker_generated_tokens_total", 5},
      {"skv_worker_samples_finished_total", 1},
      {"skv_worker_kv_positions_total", 4},
      {"vllm:prompt_tokens_total", 4},  // H e ll o
      {"vllm:generation_tokens_total", 5},
      {"vllm:request_success_total", 1},
      {"vllm:time_to_first_token_seconds_count", 1},
      {"vllm:request_time_per_output_token_seconds_count", 1},
      {"vllm:e2e_request_latency_seconds_count", 1},
      {"vllm:request_generation_tokens_sum", 5},
  };
  std::vector<double> before;
  for (const auto& [name, by] : expected) before.push_back(cluster->Metric(kLeader, name));
  const eval::StreamResult result =
      eval::Call(cluster->channel(), TextRequest("Hello", 5), kPatience);
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  for (size_t i = 0; i < expected.size(); ++i) {
    const char* const name = expected[i].first;
    const double by = expected[i].second;
    // The engine's totals follow at the end of the step.
    EXPECT_TRUE(Eventually([&] { return cluster->Metric(kLeader, name) - before[i] == by; }))
        << name;
  }
}

TEST(MetricsTest, TheGaugesOfARunningStreamFallBackToZeroWhenItIsCancelled) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.tensor_parallel_size = 1}));
  {
    eval::StreamCall call(cluster->channel(), EndlessRequest(), kPatience);
    ASSERT_TRUE(call.WaitForTokens(3));
    EXPECT_EQ(cluster->Metric(kLeader, "vllm:num_requests_running"), 1);
    EXPECT_GT(cluster->Metric(kLeader, "vllm:kv_cache_usage_perc"), 0);
  }
  EXPECT_TRUE(Eventually([&] {
    return cluster->Pid(kLeader) != 0 &&
           cluster->Metric(kLeader, "vllm:num_requests_running") == 0 &&
           cluster->Metric(kLeader, "vllm:kv_cache_usage_perc") == 0;
  }));
}

}  // namespace
}  // namespace skv::e2e
