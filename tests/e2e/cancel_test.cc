#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

// Tokens that take seconds where a stream is cancelled within milliseconds.
constexpr int kEndless = 20'000;

TEST(CancelTest, NothingIsLeftBehindWhenHalfOfTheStreamsAreCancelled) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start());
  eval::StormOptions options;
  options.endpoint = cluster->endpoint();
  options.processes = cluster->processes();
  options.num_rounds = 10;
  options.prefill_prompt_words = 8;  // its tokenizer makes five tokens of a word
  options.victim_tokens = kEndless;
  options.idle_timeout = kPatience;
  options.baseline_round = 5;
  ASSERT_OK_AND_ASSIGN(const eval::StormReport report, eval::RunStorm(options));
  for (const std::string& problem : report.problems) ADD_FAILURE() << problem;
  EXPECT_EQ(report.wrong_survivors, 0);
  EXPECT_EQ(report.leaked_blocks, 0);
  EXPECT_EQ(report.leaked_streams, 0);
  EXPECT_EQ(report.leaked_outstanding_tokens, 0);
  EXPECT_LE(report.descriptor_growth, 0);
  EXPECT_LE(report.memory_growth_bytes, 32e6 * kSlowdown);
  EXPECT_EQ(report.num_survivors, 10 * 32);
  EXPECT_EQ(report.num_cancelled, 10 * 32);
  // A step of the tiny model is short: many moments are missed.
  EXPECT_GE(report.num_in_prefill + report.num_at_prompt_end, 1);
  EXPECT_GE(report.num_in_decode, 10);
  EXPECT_LE(report.max_steps_after_cancel, 1);
}

TEST(CancelTest, ClientThatLeavesFreesItsPlace) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.tensor_parallel_size = 1}));
  {
    eval::StreamCall call(eval::ConnectTo(cluster->endpoint()), EndlessRequest(), kPatience);
    ASSERT_TRUE(call.WaitForTokens(3));
    EXPECT_EQ(cluster->Metric("group 0 rank 0", "skv_worker_open_streams"), 1);
  }
  EXPECT_TRUE(Eventually([&] {
    return cluster->Pid("group 0 rank 0") != 0 &&
           cluster->Metric("group 0 rank 0", "skv_worker_open_streams") == 0 &&
           cluster->Metric("group 0 rank 0", "skv_worker_kv_slot_pages") == 0;
  }));
  EXPECT_TRUE(cluster->Serves());
}

}  // namespace
}  // namespace skv::e2e
