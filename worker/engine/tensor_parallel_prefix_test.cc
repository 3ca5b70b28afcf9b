// Prompts that begin as earlier ones did, in groups of two and three ranks: each rank has blocks of
// its own, and all begin where the last of them has none.

#include <thread>

#include "common/testing/status_matchers.h"
#include "worker/engine/testing/policy_run.h"
#include "worker/engine/testing/rank_group.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::engine {
namespace {

constexpr int kPrompt = 300, kTokens = 20, kBudget = 64;
constexpr int64_t kAmple = int64_t{1} << 24;
constexpr int64_t kTokenBytes =
    2 * 2 * 3 * 32 * 2;  // two layers of three KV heads, keys and values

class TensorParallelPrefixTest : public testing::TestWithParam<int> {
 protected:
  TensorParallelPrefixTest()
      : model_({.num_heads = 6, .num_kv_heads = 3, .head_dim = 32, .ffn = 448}) {}

  static int WorldSize() { return GetParam(); }

  std::unique_ptr<RankGroup> MakeGroup(int chunk = 64) const {
    auto group = std::make_unique<RankGroup>(model_.path(), WorldSize());
    for (int rank = 0; rank < WorldSize(); ++rank) {
      group->options(rank).enable_prefix_caching = true;
      group->options(rank).prefix_cache_memory_bytes = kAmple;
      group->options(rank).max_num_batched_tokens = chunk;
    }
    return group;
  }

  static GenerationRequest MakeRequest(uint32_t seed = 1) {
    return RandomRequest({.prompt_seed = seed,
                          .num_prompt_tokens = kPrompt,
                          .max_tokens = kTokens,
                          .policy = {.name = "sentencekv", .budget_tokens = kBudget}});
  }

  RankGroup::Result RunCold(const GenerationRequest& request) const {
    RankGroup group(model_.path(), WorldSize());
    RankGroup::Result result;
    group.Run([&](Engine* engine, const StepRecorder& recorder) {
      result = RunNext(engine, recorder, 1, request);
    });
    return result;
  }

  static void ExpectSame(const RankGroup::Result& got, const RankGroup::Result& want) {
    EXPECT_EQ(got.tokens, want.tokens);
    EXPECT_EQ(got.logit_hashes, want.logit_hashes);
  }

  loader::TinyLlamaFile model_;
};
INSTANTIATE_TEST_SUITE_P(Ranks, TensorParallelPrefixTest, testing::Values(2, 3));

TEST_P(TensorParallelPrefixTest, ASecondRequestHitsOnAllRanksAndHasTheBitsOfAColdOne) {
  const RankGroup::Result cold = RunCold(MakeRequest());
  MakeGroup()->Run([&](Engine* engine, const StepRecorder& recorder) {
    const RankGroup::Result first = RunNext(engine, recorder, 1, MakeRequest());
    EXPECT_EQ(first.num_cached_tokens, 0);
    ExpectSame(first, cold);
    const RankGroup::Result second = RunNext(engine, recorder, 2, MakeRequest());
    EXPECT_GT(second.num_cached_tokens, kPrompt - kBudget - 128);
    EXPECT_EQ(engine->stats().num_prompt_tokens, 2 * kPrompt - second.num_cached_tokens);
    ExpectSame(second, cold);
  });
}

TEST_P(TensorParallelPrefixTest, AllRanksComputeTheSameHitAgain) {
  const RankGroup::Result cold = RunCold(MakeRequest());
  const auto group = MakeGroup();
  for (int rank = 0; rank < WorldSize(); ++rank) group->options(rank).prefix_cache_verify_every = 1;
  group->Run([&](Engine* engine, const StepRecorder& recorder) {
    ExpectSame(RunNext(engine, recorder, 1, MakeRequest()), cold);
    const RankGroup::Result second = RunNext(engine, recorder, 2, MakeRequest());
    EXPECT_EQ(second.num_cached_tokens, 0);
    ExpectSame(second, cold);
    EXPECT_GT(engine->stats().prefix.num_verified_blocks, 0);
    EXPECT_EQ(engine->stats().prefix.num_different_blocks, 0);
  });
}

TEST_P(TensorParallelPrefixTest, RanksWhoseStoresDisagreeBeginAtTheShortestHit) {
  const RankGroup::Result cold = RunCold(MakeRequest());
  for (const int small : {0, WorldSize() - 1}) {
    SCOPED_TRACE(small);
    const auto group = MakeGroup();
    group->options(small).prefix_cache_memory_bytes = kPrompt / 2 * kTokenBytes;
    group->Run([&](Engine* engine, const StepRecorder& recorder) {
      ExpectSame(RunNext(engine, recorder, 1, MakeRequest()), cold);
      const RankGroup::Result second = RunNext(engine, recorder, 2, MakeRequest());
      EXPECT_GT(second.num_cached_tokens, 0);
      EXPECT_LT(second.num_cached_tokens, kPrompt / 2);
      ExpectSame(second, cold);
    });
  }
}

TEST_P(TensorParallelPrefixTest, NothingChangesWhileOneRankEvicts) {
  const RankGroup::Result cold[] = {RunCold(MakeRequest(0)), RunCold(MakeRequest(1))};
  const auto group = MakeGroup();
  group->options(1).prefix_cache_memory_bytes = 1 << 18;
  group->Run([&](Engine* engine, const StepRecorder& recorder) {
    for (int number = 1; number <= 6; ++number) {
      SCOPED_TRACE(number);
      const int prompt = number / 2 % 2;
      ExpectSame(RunNext(engine, recorder, number, MakeRequest(prompt)), cold[prompt]);
    }
  });
}

TEST_P(TensorParallelPrefixTest, RequestsForOnePromptAtOnceComputeItOnce) {
  const RankGroup::Result cold = RunCold(MakeRequest());
  MakeGroup(/*chunk=*/32)->Run([&](Engine* engine, const StepRecorder& recorder) {
    std::vector<std::shared_ptr<CollectingSink>> sinks;
    for (int i = 0; i < 8; ++i) {
      sinks.push_back(std::make_shared<CollectingSink>());
      ASSERT_OK(engine->Submit(MakeRequest(), sinks.back()));
    }
    int cached = 0;
    for (size_t i = 0; i < sinks.size(); ++i) {
      SCOPED_TRACE(i);
      ASSERT_TRUE(sinks[i]->WaitForFinish());
      ExpectSame({sinks[i]->tokens(), recorder.logit_hashes(1 + i), {}, {}}, cold);
      cached += sinks[i]->finish().num_cached_tokens;
    }
    const EngineStats stats = engine->stats();
    EXPECT_EQ(stats.num_prompt_tokens, 8 * kPrompt - cached);
    // One whole prompt, and of each other what follows the last sentence that may be shared.
    EXPECT_LE(stats.num_prompt_tokens, kPrompt + 7 * (kBudget / 2 + 128));
    EXPECT_LE(stats.prefix.waits, 7) << "fewer when the first was faster than this thread";
  });
}

TEST_P(TensorParallelPrefixTest, WhoWaitsGoesOnWhenTheWriterIsCancelled) {
  const RankGroup::Result cold = RunCold(MakeRequest());
  MakeGroup(/*chunk=*/16)->Run([&](Engine* engine, const StepRecorder& recorder) {
    const auto first = std::make_shared<CollectingSink>();
    const auto second = std::make_shared<CollectingSink>();
    const auto writer = engine->Submit(MakeRequest(), first);
    ASSERT_OK(writer);
    ASSERT_OK(engine->Submit(MakeRequest(), second));
    while (engine->stats().num_prompt_tokens < 64) std::this_thread::yield();
    engine->Cancel(*writer);
    ASSERT_TRUE(second->WaitForFinish());
    ExpectSame({second->tokens(), recorder.logit_hashes(2), {}, {}}, cold);
    ASSERT_TRUE(first->WaitForFinish());
  });
}

}  // namespace
}  // namespace skv::engine
