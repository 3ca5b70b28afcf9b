// Prompts that begin as earlier ones did: nothing but speed tells that they were read before.

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "common/testing/status_matchers.h"
#include "worker/engine/testing/policy_run.h"
#include "worker/loader/testing/tiny_llama.h"
#include "worker/policy/policy_params.h"

namespace skv::engine {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int kPrompt = 300, kTokens = 24, kBudget = 64;

class PrefixEngineTest : public testing::Test {
 protected:
  PrefixEngineTest() : model_({.num_layers = 3, .head_dim = 32, .context_length = 1024}) {}

  struct EngineShape {
    bool caching = true;
    int chunk = 64;
    int64_t cache_bytes = int64_t{1} << 24;
    std::string kv_placement = "in-place";
    int verify_every = 0;
  };
  std::unique_ptr<LocalEngine> Open(const EngineShape& shape) {
    auto local = LocalEngine::Open({.rank = {.model_path = model_.path(),
                                             .num_threads = 1,
                                             .kv_cache_memory_bytes = int64_t{1} << 24,
                                             .kv_placement = shape.kv_placement,
                                             .max_num_batched_tokens = shape.chunk,
                                             .enable_prefix_caching = shape.caching,
                                             .prefix_cache_memory_bytes = shape.cache_bytes,
                                             .prefix_cache_verify_every = shape.verify_every},
                                    .max_num_seqs = 16});
    EXPECT_OK(local);
    return std::move(local).value();
  }

  static GenerationRequest MakeRequest(uint32_t seed, const std::string& policy = "sentencekv") {
    return RandomRequest({.prompt_seed = seed,
                          .num_prompt_tokens = kPrompt,
                          .max_tokens = kTokens,
                          .policy = {.name = policy, .budget_tokens = kBudget}});
  }

  struct Run {
    std::vector<TokenId> tokens;
    int num_cached_tokens = 0;
    std::map<int, uint64_t> hashes;
  };
  // As the `number`-th request of the engine, from 1 on, all of one sample.
  static Run RunNext(LocalEngine* local, int number, GenerationRequest request) {
    const auto sink = Submit(local, std::move(request));
    EXPECT_TRUE(sink->WaitForFinish());
    EXPECT_OK(sink->finish().status);
    return {sink->tokens(), sink->finish().num_cached_tokens,
            local->recorder().logit_hashes(number)};
  }

  // Within half a minute.
  static bool Becomes(absl::FunctionRef<bool()> condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!condition() && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return condition();
  }

  Run RunCold(GenerationRequest request) {
    return RunNext(Open({.caching = false}).get(), 1, std::move(request));
  }

  loader::TinyLlamaFile model_;
};

TEST_F(PrefixEngineTest, ASecondRequestComputesTheEndOfItsPromptOnlyAndHasTheBitsOfTheFirst) {
  for (const std::string_view policy : policy::PolicyNames()) {
    SCOPED_TRACE(policy);
    const auto local = Open({});
    const GenerationRequest request = MakeRequest(1, std::string(policy));
    const Run cold = RunNext(local.get(), 1, request);
    const Run warm = RunNext(local.get(), 2, request);
    EXPECT_EQ(cold.num_cached_tokens, 0);
    const int computed = policy::PromptQueries(request.policy, kPrompt);
    if (computed < kPrompt) {
      EXPECT_GT(warm.num_cached_tokens, kPrompt - computed - 128);
      EXPECT_LE(warm.num_cached_tokens, kPrompt - computed);
    } else {
      EXPECT_EQ(warm.num_cached_tokens, 0);
    }
    EXPECT_EQ(local->engine().stats().num_prompt_tokens, 2 * kPrompt - warm.num_cached_tokens);
    EXPECT_EQ(warm.hashes, cold.hashes);
    EXPECT_EQ(warm.tokens, cold.tokens);
    EXPECT_EQ(RunCold(request).hashes, cold.hashes);
  }
}

TEST_F(PrefixEngineTest, APromptThatGoesOnOtherwiseSharesWhatIsEqual) {
  const auto local = Open({});
  RunNext(local.get(), 1, MakeRequest(1));
  GenerationRequest other = MakeRequest(1);
  for (size_t i = 200; i < other.prompt_ids.size(); ++i) {
    other.prompt_ids[i] = (other.prompt_ids[i] + 1) % 256;
  }
  const Run run = RunNext(local.get(), 2, other);
  EXPECT_GT(run.num_cached_tokens, 0);
  EXPECT_LE(run.num_cached_tokens, 200);
  EXPECT_EQ(run.hashes, RunCold(other).hashes);
}

TEST_F(PrefixEngineTest, EverySecondHitIsComputedAgainAndIsEqual) {
  for (const std::string placement : {"in-place", "copied"}) {
    const auto local = Open({.kv_placement = placement, .verify_every = 2});
    const Run cold = RunNext(local.get(), 1, MakeRequest(1));
    const Run verified = RunNext(local.get(), 2, MakeRequest(1));
    const Run warm = RunNext(local.get(), 3, MakeRequest(1));
    EXPECT_EQ(verified.num_cached_tokens, 0) << "all of it is computed";
    EXPECT_GT(warm.num_cached_tokens, 0);
    EXPECT_EQ(verified.hashes, cold.hashes);
    EXPECT_EQ(warm.hashes, cold.hashes);
    EXPECT_GT(local->engine().stats().prefix.num_verified_blocks, 0);
    EXPECT_EQ(local->engine().stats().prefix.num_different_blocks, 0);
  }
}

TEST_F(PrefixEngineTest, OnePolicyReadsWhatAnotherWrote) {
  const auto local = Open({});
  RunNext(local.get(), 1, MakeRequest(1, "full"));
  const Run run = RunNext(local.get(), 2, MakeRequest(1, "sentencekv"));
  EXPECT_GT(run.num_cached_tokens, 0);
  EXPECT_EQ(run.hashes, RunCold(MakeRequest(1, "sentencekv")).hashes);
}

TEST_F(PrefixEngineTest, SaltsKeepRequestsApart) {
  const auto local = Open({});
  GenerationRequest salted = MakeRequest(1);
  salted.cache_salt = "tenant 1";
  EXPECT_EQ(RunNext(local.get(), 1, MakeRequest(1)).num_cached_tokens, 0);
  EXPECT_EQ(RunNext(local.get(), 2, salted).num_cached_tokens, 0);
  EXPECT_GT(RunNext(local.get(), 3, salted).num_cached_tokens, 0);
  salted.cache_salt = "tenant 2";
  EXPECT_EQ(RunNext(local.get(), 4, salted).num_cached_tokens, 0);
}

TEST_F(PrefixEngineTest, RequestsForOnePromptAtOnceComputeItOnce) {
  const Run cold = RunCold(MakeRequest(1));
  int64_t waits = 0;
  // A busy machine may let the first one end before the others come: then none has to wait.
  for (int attempt = 0; attempt < 50 && waits < 7; ++attempt) {
    const auto local = Open({.chunk = 32});
    std::vector<std::shared_ptr<CollectingSink>> sinks;
    for (int i = 0; i < 8; ++i) sinks.push_back(Submit(local.get(), MakeRequest(1)));
    int cached = 0;
    for (size_t i = 0; i < sinks.size(); ++i) {
      SCOPED_TRACE(i);
      ASSERT_TRUE(sinks[i]->WaitForFinish());
      EXPECT_EQ(sinks[i]->tokens(), cold.tokens);
      EXPECT_EQ(local->recorder().logit_hashes(1 + i), cold.hashes);
      cached += sinks[i]->finish().num_cached_tokens;
    }
    const EngineStats stats = local->engine().stats();
    EXPECT_EQ(stats.num_prompt_tokens, 8 * kPrompt - cached);
    // One whole prompt, and of each other what follows the last sentence that may be shared.
    EXPECT_LE(stats.num_prompt_tokens, kPrompt + 7 * (kBudget / 2 + 128));
    EXPECT_EQ(stats.prefix.num_held, 0);
    EXPECT_EQ(stats.prefix.hit_tokens, cached);
    waits = stats.prefix.waits;
  }
  EXPECT_EQ(waits, 7);
}

TEST_F(PrefixEngineTest, WhoWaitsGoesOnWhenTheWriterIsCancelled) {
  const Run cold = RunCold(MakeRequest(1));
  bool waited = false;
  for (int attempt = 0; attempt < 50 && !waited; ++attempt) {
    const auto local = Open({.chunk = 16});
    RequestId writer = 0;
    const auto first = Submit(local.get(), MakeRequest(1), &writer);
    const auto second = Submit(local.get(), MakeRequest(1));
    ASSERT_TRUE(Becomes([&] { return local->engine().stats().num_prompt_tokens >= 64; }));
    local->engine().Cancel(writer);
    ASSERT_TRUE(second->WaitForFinish());
    EXPECT_EQ(second->tokens(), cold.tokens);
    EXPECT_EQ(local->recorder().logit_hashes(2), cold.hashes);
    ASSERT_TRUE(first->WaitForFinish());
    // A busy machine may let the writer end before it is cancelled.
    waited = first->finish().reason == FinishReason::kCancelled &&
             local->engine().stats().prefix.waits == 1;
  }
  EXPECT_TRUE(waited);
}

TEST_F(PrefixEngineTest, SamplesAndEvictionsGoOnAsBefore) {
  GenerationRequest request = MakeRequest(1);
  request.seeds = {100, 101};
  const auto without = Open({.caching = false});
  const auto want = Submit(without.get(), request);
  ASSERT_TRUE(want->WaitForFinish());

  const auto local = Open({});
  RunNext(local.get(), 1, MakeRequest(1));
  RequestId id = 0;
  const auto sink = Submit(local.get(), request, &id);
  ASSERT_TRUE(sink->WaitForTokens(kTokens / 4));
  local->engine().Preempt(id);
  ASSERT_TRUE(sink->WaitForFinish());
  EXPECT_EQ(sink->tokens(0), want->tokens(0));
  EXPECT_EQ(sink->tokens(1), want->tokens(1));
  EXPECT_GT(sink->finish().num_cached_tokens, 0);
  EXPECT_EQ(local->recorder().differences(), 0);
}

TEST_F(PrefixEngineTest, WhatElseARequestMayAskForIsAsInAColdRun) {
  const auto expect_equal = [](const FinishEvent& warm, const FinishEvent& cold) {
    EXPECT_GT(warm.num_cached_tokens, 0);
    EXPECT_EQ(warm.kv_use, cold.kv_use);
    EXPECT_EQ(warm.recall, cold.recall);
  };
  GenerationRequest request = MakeRequest(1);
  request.explain_top = 3;
  request.policy.min_recall = 0.9;
  for (const std::string placement : {"in-place", "copied"}) {
    SCOPED_TRACE(placement);
    const auto local = Open({.kv_placement = placement});
    const auto cold = Submit(local.get(), request);
    ASSERT_TRUE(cold->WaitForFinish());
    const auto warm = Submit(local.get(), request);
    ASSERT_TRUE(warm->WaitForFinish());
    expect_equal(warm->finish(), cold->finish());
    EXPECT_EQ(warm->explanations(), cold->explanations());
    EXPECT_EQ(local->recorder().logit_hashes(2), local->recorder().logit_hashes(1));

    GenerationRequest resumed = request;
    resumed.resume_ids = cold->tokens();
    resumed.resume_ids.resize(kTokens / 2);
    const Run rest = RunNext(local.get(), 3, resumed);
    EXPECT_GT(rest.num_cached_tokens, 0);
    for (const auto& [position, hash] : rest.hashes) {
      EXPECT_EQ(hash, local->recorder().logit_hashes(1).at(position)) << position;
    }
  }
}

TEST_F(PrefixEngineTest, NothingFailsWhenTheStoreIsSmall) {
  // Room for some tens of tokens of 3 layers.
  const auto local = Open({.cache_bytes = 1 << 16});
  for (int number = 1; number <= 4; ++number) {
    const GenerationRequest request = MakeRequest(1 + number % 2);
    const Run run = RunNext(local.get(), number, request);
    EXPECT_EQ(run.hashes, RunCold(request).hashes);
  }
}

TEST_F(PrefixEngineTest, ASocketOfAStoreWithoutCachingIsRefused) {
  const auto local =
      LocalEngine::Open({.rank = {.model_path = model_.path(), .kvstore_socket = "/tmp/s"}});
  EXPECT_THAT(local, StatusIs(absl::StatusCode::kInvalidArgument,
                              AllOf(HasSubstr("--kvstore-socket: \"/tmp/s\""),
                                    HasSubstr("--enable-prefix-caching=false"))));
}

TEST_F(PrefixEngineTest, WhatRequestsHoldGoesWithThem) {
  const auto local = Open({});
  RunNext(local.get(), 1, MakeRequest(1));
  RunNext(local.get(), 2, MakeRequest(1));
  EXPECT_TRUE(Becomes([&] { return local->engine().stats().prefix.num_leases == 0; }));
  EXPECT_EQ(local->rank().pool().used_bytes(), 0u);
  EXPECT_GT(local->engine().stats().prefix.stored_blocks, 0);
}

}  // namespace
}  // namespace skv::engine
