// The KV policy of a request through a whole cluster: defaults of the worker's flags, the report to
// the client, the counters.

#include "absl/strings/str_cat.h"
#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

using grpc::StatusCode;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kLeader = "group 0 rank 0";

eval::StreamResult Ask(const Cluster& cluster, const v1::GenerateRequest& request) {
  eval::StreamResult result = eval::Call(cluster.channel(), request, kPatience);
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  return result;
}

// Far more than any budget below.
v1::GenerateRequest LongRequest() {
  std::string text;
  for (int i = 0; i < 100; ++i) absl::StrAppend(&text, "This is sentence ", i, ". ");
  return TextRequest(text, 5);
}

TEST(KvPolicyTest, AClusterOfSentencekvReportsAndCountsWhatWasRead) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.tensor_parallel_size = 1,
                                                           .flags = {"--kv-policy", "sentencekv",
                                                                     "--max-capacity-prompts", "64",
                                                                     "--semantic-factor", "3"}}));
  const v1::KvReport by_default = Ask(*cluster, LongRequest()).kv_report;
  EXPECT_EQ(by_default.policy().name(), "sentencekv");
  EXPECT_EQ(by_default.policy().max_capacity_prompts(), 64);
  EXPECT_EQ(by_default.policy().semantic_factor(), 3);
  EXPECT_THAT(by_default.fingerprint(), HasSubstr("sentencekv/budget=64/factor=3"));
  EXPECT_EQ(by_default.generated_positions(), 4);
  EXPECT_GT(by_default.attended_tokens(), 0);
  EXPECT_LE(by_default.attended_tokens(), 64);
  EXPECT_GT(by_default.visible_tokens(), 1000);
  EXPECT_GT(by_default.choosing_tokens(), 0);
  EXPECT_EQ(by_default.read_share(), (by_default.attended_tokens() + by_default.choosing_tokens()) /
                                         by_default.visible_tokens());

  v1::GenerateRequest request = LongRequest();
  request.mutable_kv_policy()->set_max_capacity_prompts(1 << 20);
  const v1::KvReport roomy = Ask(*cluster, request).kv_report;
  EXPECT_EQ(roomy.policy().max_capacity_prompts(), 1 << 20);
  EXPECT_EQ(roomy.attended_tokens(), roomy.visible_tokens());

  request = LongRequest();
  request.mutable_kv_policy()->set_name("full");
  const v1::KvReport full = Ask(*cluster, request).kv_report;
  EXPECT_EQ(full.policy().name(), "full");
  EXPECT_FALSE(full.policy().has_max_capacity_prompts());
  EXPECT_EQ(full.generated_positions(), 4);
  EXPECT_EQ(full.visible_tokens(), by_default.visible_tokens());
  EXPECT_EQ(full.choosing_tokens(), 0);
  EXPECT_EQ(full.read_share(), 1);

  request.mutable_kv_policy()->set_name("snapkv");
  const v1::KvReport snapkv = Ask(*cluster, request).kv_report;
  EXPECT_EQ(snapkv.policy().max_capacity_prompts(), 64);
  EXPECT_FALSE(snapkv.policy().has_semantic_factor());
  EXPECT_EQ(snapkv.attended_tokens(), 64 + 2.5);  // and 1 to 4 generated ones
  request.mutable_kv_policy()->set_semantic_factor(3);
  EXPECT_THAT(eval::Call(cluster->channel(), request, kPatience).status.error_message(),
              HasSubstr("kv_policy.semantic_factor: got 3, expected none: policy \"snapkv\""));

  const auto metric = [&](const char* name, const char* policy) {
    return cluster->Metric(kLeader, name, absl::StrCat("policy=\"", policy, "\""));
  };
  EXPECT_TRUE(
      Eventually([&] { return metric("skv_worker_kv_positions_total", "sentencekv") == 8; }));
  EXPECT_TRUE(Eventually([&] {
    return metric("skv_worker_kv_visible_tokens_total", "full") == full.visible_tokens() * 4;
  }));
  EXPECT_NEAR(metric("skv_worker_kv_attended_tokens_total", "sentencekv"),
              4 * (by_default.attended_tokens() + roomy.attended_tokens()), 1e-3);
  EXPECT_EQ(metric("skv_worker_requests_total", "sentencekv"), 2);
  EXPECT_EQ(metric("skv_worker_requests_total", "full"), 1);
}

TEST(KvPolicyTest, EveryRankExportsWhatAuditsOfItsHeadsFound) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.tensor_parallel_size = 2,
                                                           .flags = {"--kv-policy", "sentencekv",
                                                                     "--max-capacity-prompts", "64",
                                                                     "--audit-fraction", "1"}}));
  const v1::KvReport report = Ask(*cluster, LongRequest()).kv_report;
  EXPECT_LE(report.attended_tokens(), 64);
  EXPECT_GT(report.attended_tokens(), 32) << "more than first and last tokens";
  v1::GenerateRequest full = LongRequest();
  full.mutable_kv_policy()->set_name("full");
  full.set_explain(true);
  Ask(*cluster, full);
  const loader::TinyLlamaOptions model = TinyModelOptions();
  const int heads_of_rank = model.num_layers * model.num_heads / 2;
  for (const char* const rank : {"group 0 rank 0", "group 0 rank 1"}) {
    const auto metric = [&](const char* name) {
      return cluster->Metric(rank, name, "policy=\"sentencekv\"");
    };
    EXPECT_TRUE(Eventually([&] {
      return metric("skv_worker_kv_attention_recall_ratio_count") == 4 * heads_of_rank;
    })) << rank;
    EXPECT_LT(metric("skv_worker_kv_attention_recall_ratio_sum"), 4 * heads_of_rank);
    EXPECT_EQ(metric("skv_worker_kv_output_error_ratio_count"), 4 * heads_of_rank);
    EXPECT_GT(metric("skv_worker_kv_output_error_ratio_sum"), 0);
  }
}

TEST(KvPolicyTest, MinRecallIsKeptAndReportedByWhatItTook) {
  ASSERT_OK_AND_ASSIGN(
      const auto cluster,
      Cluster::Start({.tensor_parallel_size = 2,
                      .flags = {"--kv-policy", "sentencekv", "--max-capacity-prompts", "64"}}));
  EXPECT_FALSE(Ask(*cluster, LongRequest()).kv_report.has_recall());
  v1::GenerateRequest request = LongRequest();
  request.set_min_recall(1);
  const v1::KvReport all = Ask(*cluster, request).kv_report;
  const loader::TinyLlamaOptions model = TinyModelOptions();
  const int selections = 4 * model.num_layers * model.num_kv_heads;
  EXPECT_EQ(all.recall().min_recall(), 1);
  EXPECT_EQ(all.recall().checked(), selections);
  EXPECT_EQ(all.recall().widened(), selections);
  EXPECT_EQ(all.recall().full(), selections);
  EXPECT_EQ(all.attended_tokens(), all.visible_tokens());
  EXPECT_THAT(all.fingerprint(), HasSubstr("/min_recall=1"));

  request.mutable_kv_policy()->set_name("full");
  const v1::KvReport full = Ask(*cluster, request).kv_report;
  EXPECT_EQ(full.recall().min_recall(), 1);
  EXPECT_EQ(full.recall().checked(), 0);

  const auto checks = [&](const char* outcome) {
    return cluster->Metric(kLeader, "skv_worker_kv_recall_checks_total",
                           absl::StrCat("outcome=\"", outcome, "\""));
  };
  EXPECT_TRUE(Eventually([&] { return checks("full") == selections; }));
  EXPECT_EQ(checks("held") + checks("widened"), 0);
}

TEST(KvPolicyTest, APolicyThatIsNotAllowedIsRefusedAndTheOthersAreServed) {
  ASSERT_OK_AND_ASSIGN(
      const auto cluster,
      Cluster::Start({.tensor_parallel_size = 1, .flags = {"--allowed-kv-policies", "full"}}));
  v1::GenerateRequest request = TextRequest("Hello", 4);
  request.mutable_kv_policy()->set_name("sentencekv");
  const grpc::Status status = eval::Call(cluster->channel(), request, kPatience).status;
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT) << status.error_message();
  EXPECT_THAT(status.error_message(),
              AllOf(HasSubstr("kv_policy.name: got \"sentencekv\""), HasSubstr("allow: full")));
  EXPECT_TRUE(cluster->Serves());
}

}  // namespace
}  // namespace skv::e2e
