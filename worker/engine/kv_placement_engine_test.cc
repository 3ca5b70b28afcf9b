// --kv-placement=copied in a running engine: the bits are those of reading in place, whatever
// happens to the sequences, and every slot comes back.

#include "common/testing/status_matchers.h"
#include "worker/engine/testing/policy_run.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::engine {
namespace {

using testing::HasSubstr;

constexpr int kLayers = 4, kKvHeads = 2;  // of the tiny model
constexpr int kPrompt = 300, kTokens = 40, kBudget = 64;

class KvPlacementEngineTest : public testing::TestWithParam<std::string_view> {
 protected:
  KvPlacementEngineTest()
      : model_({.num_layers = kLayers, .head_dim = 32, .context_length = 1024}) {}

  std::unique_ptr<LocalEngine> Open(const char* placement, int threads = 1,
                                    int64_t working_set_memory_bytes = 0) {
    auto local = LocalEngine::Open({.rank = {.model_path = model_.path(),
                                             .num_threads = threads,
                                             .kv_cache_memory_bytes = int64_t{1} << 24,
                                             .kv_placement = placement,
                                             .working_set_factor = 2,  // room to generate, too
                                             .working_set_memory_bytes = working_set_memory_bytes,
                                             .max_num_batched_tokens = 64}});
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

  Outcome InPlace(GenerationRequest request, int sample) {
    request.seeds = {request.seeds[sample]};
    const auto local = Open("in-place");
    Outcome outcome = RunFirst(local.get(), std::move(request));
    EXPECT_EQ(local->engine().stats().working_set_use, kv::WorkingSetUse());
    return outcome;
  }

  // Statistics once all that has finished is released: a later request has taken steps since.
  static EngineStats StatsAfter(LocalEngine* local) {
    GenerationRequest request = MakeRequest(99);
    request.policy = {};
    request.max_tokens = 3;
    EXPECT_TRUE(Submit(local, std::move(request))->WaitForFinish());
    return local->engine().stats();
  }

  loader::TinyLlamaFile model_;
};

TEST_P(KvPlacementEngineTest, CopiedRowsGiveTheBitsOfThoseInPlace) {
  const auto local = Open("copied", /*threads=*/2);
  const auto first = Submit(local.get(), MakeRequest(1));
  const auto second = Submit(local.get(), MakeRequest(2));
  ASSERT_TRUE(first->WaitForFinish());
  ASSERT_TRUE(second->WaitForFinish());
  EXPECT_EQ(local->recorder().logit_hashes(1), InPlace(MakeRequest(1), 0).hashes);
  EXPECT_EQ(local->recorder().logit_hashes(2), InPlace(MakeRequest(2), 0).hashes);

  policy::KvUse read = first->finish().kv_use;
  read += second->finish().kv_use;
  const kv::WorkingSetUse use = StatsAfter(local.get()).working_set_use;
  if (!policy::HasBudget(GetParam())) {
    EXPECT_EQ(use, kv::WorkingSetUse()) << "what attends everything reads in place";
    return;
  }
  EXPECT_EQ(use.hit_rows + use.fetched_rows + use.own_rows + use.in_place_rows, read.attended);
  EXPECT_GT(use.hit_rows, 0);
  EXPECT_GT(use.fetched_rows, 0);
  EXPECT_GT(use.own_rows, 0);
}

// Takes note of the statistics while its last token is drawn.
class HeldSink : public CollectingSink {
 public:
  explicit HeldSink(LocalEngine* local) : local_(local) {}
  bool OnToken(const TokenEvent& event) override {
    held_ = local_->engine().stats();
    return CollectingSink::OnToken(event);
  }
  const EngineStats& held() const { return held_; }

 private:
  LocalEngine* const local_;
  EngineStats held_;
};

TEST_P(KvPlacementEngineTest, SketchesAreReadInPlaceWhereverKeysLie) {
  constexpr size_t kSketch = 36, kHeads = size_t{kLayers} * kKvHeads;
  std::map<std::string, size_t> in_place;
  for (const char* placement : {"in-place", "copied"}) {
    SCOPED_TRACE(placement);
    const auto local = Open(placement);
    const auto sink = std::make_shared<HeldSink>(local.get());
    ASSERT_OK(local->engine().Submit(MakeRequest(6), sink));
    ASSERT_TRUE(sink->WaitForFinish());
    const EngineStats& held = sink->held();
    in_place[placement] = held.step_in_place_bytes;
    if (GetParam() != "sentencekv") {
      EXPECT_EQ(held.sketch_bytes, 0u);
      continue;
    }
    // The prompt but for its last sentence, maybe, and what was generated.
    EXPECT_GT(held.sketch_bytes, kHeads * kSketch * kPrompt / 2);
    EXPECT_LT(held.sketch_bytes, kHeads * kSketch * (kPrompt + 2 * kTokens));
    EXPECT_EQ(StatsAfter(local.get()).sketch_bytes, 0u);
  }
  if (GetParam() != "sentencekv") return;
  // Five sketches for each token that is neither first nor last, and copied nothing else.
  EXPECT_GT(in_place["copied"], 0u);
  EXPECT_LE(in_place["copied"], kHeads * kSketch * 5 * (kBudget - 8 - 16));
  EXPECT_GT(in_place["in-place"], in_place["copied"]);
}

TEST_P(KvPlacementEngineTest, SlotsComeBackFromForksEvictionsAndCancels) {
  const GenerationRequest request = MakeRequest(3, /*num_samples=*/3);
  const auto local = Open("copied");
  RequestId id = 0, cancelled_id = 0;
  const auto sink = Submit(local.get(), request, &id);
  ASSERT_TRUE(sink->WaitForTokens(kTokens / 4));
  local->engine().Preempt(id);
  ASSERT_TRUE(sink->WaitForFinish());
  for (int i = 0; i < 3; ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(local->recorder().logit_hashes(1 + i), InPlace(request, i).hashes);
  }
  EXPECT_EQ(local->recorder().differences(), 0);

  const auto cancelled = Submit(local.get(), MakeRequest(4, /*num_samples=*/2), &cancelled_id);
  ASSERT_TRUE(cancelled->WaitForTokens(2));
  local->engine().Cancel(cancelled_id);
  ASSERT_TRUE(cancelled->WaitForFinish());
  const EngineStats stats = StatsAfter(local.get());
  EXPECT_EQ(stats.working_set_bytes, 0u);
  EXPECT_EQ(stats.scheduler.slots_reserved, 0);
}

TEST_P(KvPlacementEngineTest, AResumedRequestGoesOnWithTheSameBits) {
  GenerationRequest request = MakeRequest(5);
  const Outcome want = InPlace(request, 0);
  request.resume_ids.assign(want.tokens.begin(), want.tokens.begin() + kTokens / 2);
  const auto local = Open("copied");
  ASSERT_TRUE(Submit(local.get(), request)->WaitForFinish());
  const auto got = local->recorder().logit_hashes(1);
  EXPECT_EQ(got.size(), size_t{kTokens / 2});
  for (const auto& [position, hash] : got) EXPECT_EQ(hash, want.hashes.at(position)) << position;
}

INSTANTIATE_TEST_SUITE_P(All, KvPlacementEngineTest, testing::ValuesIn(policy::PolicyNames()),
                         [](const auto& info) { return std::string(info.param); });

class KvPlacementAdmissionTest : public KvPlacementEngineTest {};

TEST_P(KvPlacementAdmissionTest, AWorkingSetThatDoesNotFitIsRefusedWithTheFlag) {
  const size_t slot_bytes = size_t{2} * kLayers * kKvHeads * 32 * 2;
  const auto local = Open("copied", 1, /*working_set_memory_bytes=*/200 * slot_bytes);
  const auto sink = Submit(local.get(), MakeRequest(6, /*num_samples=*/2));
  ASSERT_TRUE(sink->WaitForFinish());
  EXPECT_THAT(std::string(sink->finish().status.message()),
              HasSubstr("working sets of 256 slots (128 for max_capacity_prompts 64, n 2), this "
                        "worker has 200; ask for less or raise --working-set-memory-bytes"));
  const auto fits = Submit(local.get(), MakeRequest(6));
  ASSERT_TRUE(fits->WaitForFinish());
  EXPECT_OK(fits->finish().status);
}

INSTANTIATE_TEST_SUITE_P(SentenceKv, KvPlacementAdmissionTest, testing::Values("sentencekv"));

TEST(KvPlacementTest, OptionsOutOfRangeAreNamedByTheirFlag) {
  const loader::TinyLlamaFile model;
  const std::pair<RankOptions, const char*> kCases[] = {
      {{.model_path = model.path(), .kv_placement = "elsewhere"}, "--kv-placement: \"elsewhere\""},
      {{.model_path = model.path(), .kv_placement = "copied", .working_set_factor = 0.5},
       "--working-set-factor: 0.5, expected at least 1"}};
  for (const auto& [options, message] : kCases) {
    EXPECT_THAT(LocalEngine::Open({.rank = options}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  }
}

}  // namespace
}  // namespace skv::engine
