// `explain` in a running engine: what a request reads depends on nothing but the request, and being
// watched changes no bit of it.

#include <gmock/gmock.h>

#include "common/testing/status_matchers.h"
#include "worker/engine/testing/policy_run.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::Not;

// More tokens than a sentence may have, so that some end.
constexpr int kPrompt = 300, kTokens = 150, kTop = 3;

class ExplainEngineTest : public testing::TestWithParam<std::string_view> {
 protected:
  ExplainEngineTest() : model_({.head_dim = 32, .context_length = 1024}) {}

  std::unique_ptr<LocalEngine> Open(int chunk = 64, int threads = 1) {
    auto local = LocalEngine::Open({.rank = {.model_path = model_.path(),
                                             .num_threads = threads,
                                             .kv_cache_memory_bytes = int64_t{1} << 24,
                                             .max_num_batched_tokens = chunk}});
    EXPECT_OK(local);
    return std::move(local).value();
  }

  static GenerationRequest MakeRequest(int num_samples = 1) {
    GenerationRequest request =
        RandomRequest({.num_prompt_tokens = kPrompt,
                       .num_samples = num_samples,
                       .max_tokens = kTokens,
                       .policy = {.name = std::string(GetParam()), .budget_tokens = 64}});
    request.explain_top = kTop;
    return request;
  }

  static std::shared_ptr<CollectingSink> Run(LocalEngine* local, GenerationRequest request) {
    auto sink = Submit(local, std::move(request));
    EXPECT_TRUE(sink->WaitForFinish());
    EXPECT_OK(sink->finish().status);
    return sink;
  }

  loader::TinyLlamaFile model_;
};

TEST_P(ExplainEngineTest, EverySentenceIsExplainedOnceWithSentencesOfThePrompt) {
  const auto local = Open();
  const std::vector<Explanation> explanations = Run(local.get(), MakeRequest())->explanations();
  ASSERT_GE(explanations.size(), 2u);
  // Later ones may read nothing of the prompt, as with `streaming`.
  EXPECT_THAT(explanations[0].reads, Not(IsEmpty()));
  int end = 0;
  for (const Explanation& explanation : explanations) {
    EXPECT_EQ(explanation.begin, end);
    end = explanation.end;
    EXPECT_LE(explanation.reads.size(), size_t{kTop});
    double last_score = 1;
    for (const SentenceRead& read : explanation.reads) {
      EXPECT_LT(read.begin, read.end);
      EXPECT_LE(read.end, kPrompt);
      EXPECT_GT(read.score, 0);
      EXPECT_LE(read.score, last_score);
      last_score = read.score;
      EXPECT_THAT(read.heads_share, Le(1));
      if (GetParam() == "full") {
        EXPECT_EQ(read.heads_share, 1);
      }
    }
  }
  EXPECT_EQ(end, kTokens) << "the last token too, though it is never computed";
}

TEST_P(ExplainEngineTest, BeingWatchedChangesNoBit) {
  GenerationRequest plain = MakeRequest();
  plain.explain_top = 0;
  const auto watched_engine = Open(), plain_engine = Open();
  const auto watched = Run(watched_engine.get(), MakeRequest());
  const auto unwatched = Run(plain_engine.get(), plain);
  EXPECT_EQ(watched->tokens(), unwatched->tokens());
  EXPECT_EQ(watched_engine->recorder().logit_hashes(1), plain_engine->recorder().logit_hashes(1));
  policy::KvUse use = watched->finish().kv_use;
  const policy::KvUse want = unwatched->finish().kv_use;
  EXPECT_GT(use.scanned, want.scanned) << "watching reads keys";
  use.scanned = want.scanned;
  EXPECT_EQ(use, want);
  EXPECT_THAT(unwatched->explanations(), IsEmpty());
}

TEST_P(ExplainEngineTest, ChunksThreadsResumptionAndNeighboursDoNotMatter) {
  const auto alone = Run(Open(/*chunk=*/512).get(), MakeRequest());
  const std::vector<Explanation> want = alone->explanations();
  EXPECT_EQ(Run(Open(/*chunk=*/96, /*threads=*/2).get(), MakeRequest())->explanations(), want);

  GenerationRequest resumed = MakeRequest();
  resumed.resume_ids = alone->tokens();
  resumed.resume_ids.resize(kTokens - 2);
  EXPECT_EQ(Run(Open().get(), resumed)->explanations(), want);

  EXPECT_EQ(Run(Open().get(), MakeRequest(/*num_samples=*/2))->explanations(0), want);
}

TEST_P(ExplainEngineTest, AnEvictedRequestTellsEverySentenceOnce) {
  const std::vector<Explanation> want = Run(Open().get(), MakeRequest())->explanations();
  ASSERT_GE(want.size(), 2u);
  const auto local = Open();
  const auto sink = std::make_shared<CollectingSink>();
  const auto id = local->engine().Submit(MakeRequest(), sink);
  ASSERT_OK(id);
  ASSERT_TRUE(sink->WaitForTokens(want[0].end + 2));
  local->engine().Preempt(*id);
  ASSERT_TRUE(sink->WaitForFinish());
  EXPECT_EQ(sink->explanations(), want);
}

TEST_P(ExplainEngineTest, MoreSentencesThanAreServedAreRefused) {
  GenerationRequest request = MakeRequest();
  request.explain_top = kMaxExplainTop + 1;
  EXPECT_THAT(Open()->engine().Submit(request, std::make_shared<CollectingSink>()).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("explain_top: 33")));
}

INSTANTIATE_TEST_SUITE_P(All, ExplainEngineTest, testing::ValuesIn(policy::PolicyNames()),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace skv::engine
