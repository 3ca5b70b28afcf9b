// Groups of one, two and three ranks, as threads over shared memory.

#include <algorithm>

#include "common/testing/status_matchers.h"
#include "worker/engine/testing/rank_group.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::engine {
namespace {

using kernels::QuantType;

constexpr int kNewTokens = 20;

RankGroup::Result Generate(RankGroup* group) {
  return group->Generate({.num_prompt_tokens = 150, .num_new_tokens = kNewTokens});
}

void ExpectEqualBitsForEverySize(const loader::TinyLlamaOptions& options) {
  const loader::TinyLlamaFile model(options);
  const auto generate = [&](int world_size) {
    RankGroup group(model.path(), world_size);
    return Generate(&group);
  };
  const RankGroup::Result want = generate(1);
  ASSERT_EQ(want.logit_hashes.size(), size_t{kNewTokens});
  for (const int world_size : {2, 3}) {
    SCOPED_TRACE(testing::Message() << world_size << " ranks");
    const RankGroup::Result got = generate(world_size);
    EXPECT_EQ(got.tokens, want.tokens);
    EXPECT_EQ(got.logit_hashes, want.logit_hashes);
  }
}

TEST(TensorParallelTest, EveryNumberOfRanksGivesTheLogitBitsOfOne) {
  ExpectEqualBitsForEverySize(
      {.num_heads = 6, .num_kv_heads = 3, .head_dim = 32, .ffn = 448});  // 3.5 segments
}

TEST(TensorParallelTest, EveryNumberOfRanksGivesTheLogitBitsOfOneWithBlocksOf256) {
  ExpectEqualBitsForEverySize({.hidden = 256,
                               .num_heads = 12,
                               .num_kv_heads = 3,
                               .head_dim = 64,
                               .ffn = 768,
                               .weight_type = QuantType::kQ4_K,
                               .value_type = QuantType::kQ6_K});
}

// Ranks of one and two KV heads: their slots differ in bytes.
TEST(TensorParallelTest, EveryNumberOfRanksGivesTheBitsOfOneFromWorkingSets) {
  const loader::TinyLlamaFile model(
      {.num_heads = 6, .num_kv_heads = 3, .head_dim = 32, .ffn = 448});
  const policy::PolicyParams policy{.name = "sentencekv", .budget_tokens = 32};
  const auto logits = [&](int world_size) {
    RankGroup group(model.path(), world_size);
    group.CopyRows(policy);
    return Generate(&group).logit_hashes;
  };
  const auto want = logits(1);
  ASSERT_EQ(want.size(), size_t{kNewTokens});
  EXPECT_EQ(logits(2), want);
  EXPECT_EQ(logits(3), want);
}

TEST(TensorParallelTest, EveryNumberOfRanksGivesTheExplanationsOfOne) {
  const loader::TinyLlamaFile model(
      {.num_heads = 6, .num_kv_heads = 3, .head_dim = 32, .ffn = 448});
  for (const std::string_view policy : policy::PolicyNames()) {
    SCOPED_TRACE(policy);
    std::vector<std::vector<Explanation>> explanations;
    for (const int world_size : {1, 2, 3}) {
      RankGroup group(model.path(), world_size);
      group.Explain({.name = std::string(policy), .budget_tokens = 64}, /*top=*/8);
      explanations.push_back(Generate(&group).explanations);
    }
    ASSERT_FALSE(explanations[0].empty());
    EXPECT_FALSE(explanations[0][0].reads.empty());
    EXPECT_EQ(explanations[1], explanations[0]);
    EXPECT_EQ(explanations[2], explanations[0]);
  }
}

TEST(TensorParallelTest, EveryNumberOfRanksKeepsAndCountsMinRecallAsOne) {
  const loader::TinyLlamaFile model(
      {.num_heads = 6, .num_kv_heads = 3, .head_dim = 32, .ffn = 448});
  std::vector<RankGroup::Result> results;
  for (const int world_size : {1, 2, 3}) {
    RankGroup group(model.path(), world_size);
    group.Explain({.name = "sentencekv", .budget_tokens = 32, .min_recall = 0.2}, /*top=*/8);
    results.push_back(Generate(&group));
  }
  EXPECT_GT(results[0].recall.widened, 0);
  EXPECT_LT(results[0].recall.widened, results[0].recall.checked);
  for (const RankGroup::Result& result : results) {
    EXPECT_EQ(result.logit_hashes, results[0].logit_hashes);
    EXPECT_EQ(result.recall, results[0].recall);
    EXPECT_EQ(result.explanations, results[0].explanations);
  }
}

TEST(TensorParallelTest, TheRanksTogetherAuditWhatOneAuditsAndNoBitChanges) {
  const loader::TinyLlamaFile model(
      {.num_heads = 6, .num_kv_heads = 3, .head_dim = 32, .ffn = 448});
  const policy::PolicyParams policy{.name = "sentencekv", .budget_tokens = 32};
  RankGroup plain(model.path(), 1);
  plain.Explain(policy, 0);
  const RankGroup::Result want = Generate(&plain);
  std::vector<std::vector<std::pair<float, float>>> audits;
  for (const int world_size : {1, 2, 3}) {
    RankGroup group(model.path(), world_size);
    std::vector<policy::AuditSample> samples;
    group.Audit(0.5, policy, &samples);
    EXPECT_EQ(Generate(&group).logit_hashes, want.logit_hashes);
    audits.emplace_back();
    for (const policy::AuditSample& s : samples)
      audits.back().emplace_back(s.recall, s.output_error);
    std::ranges::sort(audits.back());
  }
  ASSERT_FALSE(audits[0].empty());
  EXPECT_LT(audits[0][0].first, 1) << "the budget leaves tokens out";
  EXPECT_EQ(audits[1], audits[0]);
  EXPECT_EQ(audits[2], audits[0]);
}

}  // namespace
}  // namespace skv::engine
