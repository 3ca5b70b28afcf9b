// `min_recall` in a running engine: the floor holds for the whole answer, the reply counts what it
// took, and both depend on nothing but the request.

#include <gmock/gmock.h>

#include <limits>

#include "common/testing/status_matchers.h"
#include "worker/engine/testing/policy_run.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::engine {
namespace {

using ::testing::Gt;
using ::testing::HasSubstr;

constexpr int kLayers = 4, kKvHeads = 2;
constexpr int kPrompt = 300, kTokens = 40, kBudget = 32;
// Selections of an answer: the last token is drawn, never computed.
constexpr int64_t kSelections = int64_t{kTokens - 1} * kLayers * kKvHeads;

class RecallEngineTest : public testing::TestWithParam<std::string_view> {
 protected:
  RecallEngineTest() : model_({.num_layers = kLayers, .num_kv_heads = kKvHeads, .head_dim = 32}) {}

  std::unique_ptr<LocalEngine> Open(int chunk = 64, int threads = 1) {
    auto local = LocalEngine::Open({.rank = {.model_path = model_.path(),
                                             .num_threads = threads,
                                             .kv_cache_memory_bytes = int64_t{1} << 24,
                                             .max_num_batched_tokens = chunk}});
    EXPECT_OK(local);
    return std::move(local).value();
  }

  static GenerationRequest MakeRequest(double min_recall, int num_samples = 1) {
    return RandomRequest(
        {.num_prompt_tokens = kPrompt,
         .num_samples = num_samples,
         .max_tokens = kTokens,
         .policy = {
             .name = std::string(GetParam()), .budget_tokens = kBudget, .min_recall = min_recall}});
  }

  Outcome Run(const GenerationRequest& request, int chunk = 64, int threads = 1) {
    return RunFirst(Open(chunk, threads).get(), request);
  }

  loader::TinyLlamaFile model_;
};

// The tiny model's attention is so flat that no token is without mass.
TEST_P(RecallEngineTest, AllMassGivesTheBitsOfFull) {
  GenerationRequest full = MakeRequest(0);
  full.policy = {};
  const Outcome want = Run(full), got = Run(MakeRequest(1));
  EXPECT_EQ(got.hashes, want.hashes);
  EXPECT_EQ(got.finish.kv_use.attended, want.finish.kv_use.attended);
  EXPECT_EQ(want.finish.recall, policy::RecallCounts());
  EXPECT_EQ(got.finish.recall.checked, kSelections);
  EXPECT_EQ(got.finish.recall.full, got.finish.recall.widened);
  EXPECT_THAT(got.finish.recall.full, Gt(0));
}

TEST_P(RecallEngineTest, AFloorThatEverySelectionReachesChangesNothing) {
  const Outcome want = Run(MakeRequest(0)), got = Run(MakeRequest(1e-9));
  EXPECT_EQ(got.hashes, want.hashes);
  EXPECT_EQ(got.finish.kv_use.attended, want.finish.kv_use.attended);
  EXPECT_THAT(got.finish.kv_use.scanned, Gt(want.finish.kv_use.scanned)) << "checking reads keys";
  EXPECT_EQ(got.finish.recall, (policy::RecallCounts{.checked = kSelections}));
  EXPECT_EQ(want.finish.recall, policy::RecallCounts());
}

TEST_P(RecallEngineTest, ChunksThreadsNeighboursAndReplayDoNotMatter) {
  const Outcome want = Run(MakeRequest(0.2), /*chunk=*/512);
  EXPECT_NE(want.hashes, Run(MakeRequest(0)).hashes);
  const Outcome threads = Run(MakeRequest(0.2), /*chunk=*/96, /*threads=*/2);
  EXPECT_EQ(threads.hashes, want.hashes);
  EXPECT_EQ(threads.finish.recall, want.finish.recall);

  GenerationRequest resumed = MakeRequest(0.2);
  resumed.resume_ids.assign(want.tokens.begin(), want.tokens.begin() + kTokens / 2);
  const Outcome replayed = Run(resumed);
  for (const auto& [position, hash] : replayed.hashes) EXPECT_EQ(hash, want.hashes.at(position));
  EXPECT_EQ(replayed.finish.recall, want.finish.recall);

  const auto local = Open();
  const auto both = std::make_shared<CollectingSink>(2);
  const auto id = local->engine().Submit(MakeRequest(0.2, /*num_samples=*/2), both);
  ASSERT_OK(id);
  ASSERT_TRUE(both->WaitForTokens(kTokens / 4));
  local->engine().Preempt(*id);
  ASSERT_TRUE(both->WaitForFinish());
  EXPECT_EQ(local->recorder().logit_hashes(1), want.hashes);
  EXPECT_EQ(local->recorder().differences(), 0);
  EXPECT_EQ(both->finish(0).recall, want.finish.recall);
  EXPECT_EQ(both->finish(1).recall.checked, kSelections);
  EXPECT_EQ(local->engine().stats().recall.at(std::string(GetParam())).full > 0,
            want.finish.recall.full > 0);
}

TEST_P(RecallEngineTest, AFloorOutOfRangeIsRefused) {
  for (const double min_recall : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THAT(Open()
                    ->engine()
                    .Submit(MakeRequest(min_recall), std::make_shared<CollectingSink>())
                    .status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("min_recall: ")));
  }
}

INSTANTIATE_TEST_SUITE_P(All, RecallEngineTest,
                         testing::Values("sentencekv", "streaming", "snapkv", "h2o", "quest"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace skv::engine
