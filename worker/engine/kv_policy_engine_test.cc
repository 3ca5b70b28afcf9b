// KV policies in a running engine: what a request selects depends on nothing but the request, and a
// budget for everything gives the bits of full attention.

#include "common/testing/status_matchers.h"
#include "worker/engine/testing/policy_run.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::engine {
namespace {

constexpr int kLayers = 4, kKvHeads = 2;  // of the tiny model
constexpr int kPrompt = 300, kTokens = 40, kBudget = 64;

class KvPolicyEngineTest : public testing::TestWithParam<std::string_view> {
 protected:
  KvPolicyEngineTest() : model_({.num_layers = kLayers, .head_dim = 32, .context_length = 1024}) {}

  std::unique_ptr<LocalEngine> Open(int chunk = 64, int threads = 1) {
    auto local = LocalEngine::Open({.rank = {.model_path = model_.path(),
                                             .num_threads = threads,
                                             .kv_cache_memory_bytes = int64_t{1} << 24,
                                             .max_num_batched_tokens = chunk}});
    EXPECT_OK(local);
    return std::move(local).value();
  }

  static GenerationRequest MakeRequest(uint32_t seed, int num_samples = 1) {
    return RandomRequest({.prompt_seed = seed,
                          .num_prompt_tokens = kPrompt,
                          .num_samples = num_samples,
                          .max_tokens = kTokens,
                          .policy = {.name = std::string(GetParam()), .budget_tokens = kBudget}});
  }

  Outcome RunAlone(const GenerationRequest& request, int chunk = 64, int threads = 1) {
    return RunFirst(Open(chunk, threads).get(), request);
  }

  loader::TinyLlamaFile model_;
};

TEST_P(KvPolicyEngineTest, BitsDoNotDependOnChunksAndThreads) {
  const Outcome want = RunAlone(MakeRequest(1), /*chunk=*/512);
  EXPECT_EQ(want.hashes.size(), size_t{kTokens});
  EXPECT_EQ(RunAlone(MakeRequest(1), /*chunk=*/64, /*threads=*/2).hashes, want.hashes);
  EXPECT_EQ(RunAlone(MakeRequest(1), /*chunk=*/96).hashes, want.hashes);
}

TEST_P(KvPolicyEngineTest, SamplesThatShareAPromptSelectAsIfAlone) {
  const auto local = Open();
  const auto sink = Submit(local.get(), MakeRequest(2, /*num_samples=*/3));
  ASSERT_TRUE(sink->WaitForFinish());
  for (int i = 0; i < 3; ++i) {
    SCOPED_TRACE(i);
    GenerationRequest alone = MakeRequest(2);
    alone.seeds = {static_cast<uint64_t>(100 + i)};
    const Outcome want = RunAlone(alone);
    EXPECT_EQ(sink->tokens(i), want.tokens);
    EXPECT_EQ(local->recorder().logit_hashes(1 + i), want.hashes);
  }
}

TEST_P(KvPolicyEngineTest, ResumedAndEvictedRequestsSelectAsBefore) {
  const Outcome want = RunAlone(MakeRequest(3));
  GenerationRequest resumed = MakeRequest(3);
  resumed.resume_ids.assign(want.tokens.begin(), want.tokens.begin() + kTokens / 2);
  for (const auto& [position, hash] : RunAlone(resumed).hashes) {
    EXPECT_EQ(hash, want.hashes.at(position)) << position;
  }

  const auto local = Open();
  const auto sink = std::make_shared<CollectingSink>();
  const auto id = local->engine().Submit(MakeRequest(3), sink);
  ASSERT_OK(id);
  ASSERT_TRUE(sink->WaitForTokens(kTokens / 4));
  local->engine().Preempt(*id);
  ASSERT_TRUE(sink->WaitForFinish());
  EXPECT_EQ(local->recorder().logit_hashes(1), want.hashes);
  EXPECT_EQ(local->recorder().differences(), 0);
}

TEST_P(KvPolicyEngineTest, ABudgetForEverythingGivesTheBitsOfFull) {
  GenerationRequest generous = MakeRequest(4), full = MakeRequest(4);
  generous.policy.budget_tokens = kPrompt + kTokens;
  full.policy = {};
  EXPECT_EQ(RunAlone(generous).hashes, RunAlone(full).hashes);
}

// What a position of one layer and KV head reads; of `pyramidkv` the mean over the layers.
int64_t TokensRead(std::string_view policy, int layer, int num_visible) {
  if (policy == "full") return num_visible;
  // Those that cut the prompt alone keep what is generated on top of the budget.
  if (policy == "snapkv" || policy == "pyramidkv" || policy == "chunk") {
    return kBudget + num_visible - kPrompt;
  }
  if (policy == "quest") {
    const int in_last_page = (num_visible - 1) % 16 + 1;
    return layer < 2 ? num_visible : kBudget - 16 + in_last_page;
  }
  return kBudget;
}

TEST_P(KvPolicyEngineTest, TheReportCountsWhatWasRead) {
  const Outcome outcome = RunAlone(MakeRequest(5));
  const policy::KvUse& use = outcome.finish.kv_use;
  // The last token is drawn, never computed.
  EXPECT_EQ(use.positions, kTokens - 1);
  int64_t visible = 0, attended = 0;
  for (int layer = 0; layer < kLayers; ++layer) {
    for (int i = 0; i < kTokens - 1; ++i) {
      const int num_visible = kPrompt + i + 1;
      visible += kKvHeads * num_visible;
      attended += kKvHeads * TokensRead(GetParam(), layer, num_visible);
    }
  }
  EXPECT_EQ(use.visible, visible);
  EXPECT_EQ(use.sketch_bytes > 0, GetParam() == "sentencekv");
  if (GetParam() == "sentencekv_colm2025") {
    EXPECT_GE(use.attended, attended) << "where sentences meet it reads what is eligible";
    EXPECT_LT(use.attended, visible);
    return;
  }
  if (GetParam() == "sentencekv") {
    EXPECT_LT(use.attended, attended) << "heads that look at little attend little";
    EXPECT_GT(use.attended, attended / 2) << "more than first and last tokens";
    return;
  }
  EXPECT_EQ(use.attended, attended);
}

INSTANTIATE_TEST_SUITE_P(All, KvPolicyEngineTest, testing::ValuesIn(policy::PolicyNames()),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace skv::engine
