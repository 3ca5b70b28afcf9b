// The audit of KV policies in a running engine: every generated row of every sequence can be
// measured, and none of it shows in the answer.

#include <algorithm>

#include "common/mutex.h"
#include "common/testing/status_matchers.h"
#include "worker/engine/testing/policy_run.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::engine {
namespace {

constexpr int kPrompt = 200, kTokens = 20, kSamples = 2;
constexpr int kLayers = 4, kQueryHeads = 4;

class AuditEngineTest : public testing::TestWithParam<std::string_view> {
 protected:
  AuditEngineTest() : model_({.num_layers = kLayers, .num_heads = kQueryHeads, .head_dim = 32}) {}

  struct Audit {
    std::map<int, uint64_t> hashes[kSamples];
    std::vector<policy::AuditSample> audited;
  };
  Audit Run(double audit_fraction, int budget) {
    Audit outcome;
    Mutex mutex;
    auto local = LocalEngine::Open(
        {.rank = {.model_path = model_.path(),
                  .num_threads = 2,
                  .kv_cache_memory_bytes = int64_t{1} << 24,
                  .max_num_batched_tokens = 64},
         .audit_fraction = audit_fraction,
         .audit_sink = [&](const std::string& policy, const auto& samples) {
           MutexLock lock(&mutex);
           EXPECT_EQ(policy, GetParam());
           outcome.audited.insert(outcome.audited.end(), samples.begin(), samples.end());
         }});
    EXPECT_OK(local);
    const auto sink = Submit(
        local->get(),
        RandomRequest({.num_prompt_tokens = kPrompt,
                       .num_samples = kSamples,
                       .max_tokens = kTokens,
                       .policy = {.name = std::string(GetParam()), .budget_tokens = budget}}));
    EXPECT_TRUE(sink->WaitForFinish());
    for (int i = 0; i < kSamples; ++i) {
      EXPECT_OK(sink->finish(i).status);
      outcome.hashes[i] = (*local)->recorder().logit_hashes(1 + i);
    }
    local->reset();
    return outcome;
  }

  loader::TinyLlamaFile model_;
};

TEST_P(AuditEngineTest, EveryRowCanBeAuditedAndNoBitChanges) {
  const Audit plain = Run(0, /*budget=*/32), audited = Run(1, /*budget=*/32);
  for (int i = 0; i < kSamples; ++i) {
    ASSERT_EQ(plain.hashes[i].size(), size_t{kTokens});
    EXPECT_EQ(audited.hashes[i], plain.hashes[i]) << i;
  }
  EXPECT_TRUE(plain.audited.empty());
  // The last token is drawn, never computed. What attends everything has nothing to audit.
  const size_t rows = policy::HasBudget(GetParam()) ? kSamples * (kTokens - 1) : 0;
  ASSERT_EQ(audited.audited.size(), rows * kLayers * kQueryHeads);
  for (const policy::AuditSample& sample : audited.audited) {
    EXPECT_GT(sample.recall, 0);
    EXPECT_LE(sample.recall, 1);
    EXPECT_GE(sample.output_error, 0);
  }
  const auto misses = [](const auto& s) { return s.recall < 0.99 && s.output_error > 0; };
  EXPECT_EQ(std::ranges::any_of(audited.audited, misses), rows > 0);
}

TEST_P(AuditEngineTest, ABudgetForEverythingMissesNothing) {
  for (const policy::AuditSample& sample : Run(1, kPrompt + kTokens).audited) {
    EXPECT_EQ(sample.recall, 1);
    EXPECT_EQ(sample.output_error, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All, AuditEngineTest, testing::ValuesIn(policy::PolicyNames()),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace skv::engine
