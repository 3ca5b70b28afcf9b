// Every policy behind a prefix of its prompt that was cached before: it selects and weighs what it
// does when it has seen the prompt from its first position on.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/testing/status_matchers.h"
#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"
#include "worker/policy/watched_policy.h"

namespace skv::policy {
namespace {

constexpr int kGenerated = 60;

struct Case {
  PolicyParams params;
  int num_prompt_tokens;
};

std::vector<PolicyParams> AllPolicies(int budget) {
  std::vector<PolicyParams> all;
  for (const std::string_view name : PolicyNames()) {
    all.push_back({std::string(name), budget, 0});
    if (HasSemanticFactor(name)) all.push_back({std::string(name), budget, 2});
  }
  return all;
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  // The last two prompts are within the budget, and what is generated leaves it.
  for (const auto& [budget, num_prompt_tokens] :
       {std::pair{64, 300}, {64, 65}, {100, 200}, {128, 100}, {64, 20}}) {
    for (const PolicyParams& params : AllPolicies(budget)) {
      cases.push_back({params, num_prompt_tokens});
    }
  }
  return cases;
}

std::string Name(const testing::TestParamInfo<Case>& info) {
  const auto& [params, num_prompt_tokens] = info.param;
  return absl::StrCat(params.name, "_budget_", params.budget_tokens, "_factor_",
                      static_cast<int>(params.semantic_factor), "_prompt_", num_prompt_tokens);
}

void PrintTo(const Case& c, std::ostream* out) {
  *out << Fingerprint(c.params) << ", prompt " << c.num_prompt_tokens;
}

int FirstQuery(const TestSequence& sequence, const PolicyParams& params) {
  const int num_prompt_tokens = sequence.shape.num_prompt_tokens;
  return num_prompt_tokens - PromptQueries(params, num_prompt_tokens);
}

// How much of the prompt was cached: up to the last position that is allowed, whole sentences and
// others.
std::set<int> Cuts(const TestSequence& sequence, const PolicyParams& params) {
  const int latest = FirstQuery(sequence, params);
  std::set<int> cuts = {latest, latest / 2, std::max(latest - 1, 0), std::min(latest, 1)};
  int last_end = 0;
  for (const Sentence& sentence : sequence.sentences) {
    if (sentence.end <= latest) last_end = sentence.end;
  }
  cuts.insert(last_end);
  return cuts;
}

// With other queries at the positions [begin, end).
TestSequence WithOtherQueries(const TestSequence& sequence, int begin, int end) {
  TestSequence other = sequence;
  const SequenceShape& shape = sequence.shape;
  const int64_t width = int64_t{shape.group_size} * shape.head_dim;
  for (int layer = 0; layer < shape.num_layers; ++layer) {
    for (int head = 0; head < shape.num_kv_heads; ++head) {
      const int64_t row = sequence.HeadRow(layer, head);
      for (int64_t i = (row + begin) * width; i < (row + end) * width; ++i) {
        other.queries[i] *= -50;
      }
    }
  }
  return other;
}

// What a sequence comes to.
struct Outcome {
  Selections selections;
  std::vector<size_t> bytes;  // of index and sketches, where the prompt ends and in the end
};

void AddBytes(const PolicyDriver& driver, Outcome* outcome) {
  outcome->bytes.push_back(driver.policy().index_bytes());
  outcome->bytes.push_back(driver.policy().sketch_bytes());
}

Outcome RunBehind(int num_cached, const TestSequence& sequence, const PolicyParams& params,
                  int max_step) {
  std::mt19937 random(1);
  PolicyDriver driver(sequence, params);
  driver.BeginBehind(num_cached);
  Outcome outcome;
  for (const int end : {sequence.shape.num_prompt_tokens, sequence.num_tokens}) {
    driver.RunTo(end, max_step, random);
    AddBytes(driver, &outcome);
  }
  outcome.selections = driver.selections();
  return outcome;
}

// Of a fork that goes on as `other` does, when its parent has generated.
Outcome ForkBehind(int num_cached, const TestSequence& sequence, const TestSequence& other,
                   const PolicyParams& params) {
  std::mt19937 random(1);
  PolicyDriver parent(sequence, params);
  parent.BeginBehind(num_cached);
  parent.RunTo(sequence.num_tokens, 16, random);
  PolicyDriver fork(other, parent);
  Outcome outcome;
  AddBytes(fork, &outcome);
  fork.RunTo(other.num_tokens, 16, random);
  AddBytes(fork, &outcome);
  outcome.selections = fork.selections();
  return outcome;
}

// An audit compares outputs, and a TestSequence has no values.
class KeysAsValues : public KvReader {
 public:
  explicit KeysAsValues(const KvReader& kv) : kv_(kv) {}
  void ReadKeys(int begin, int end, float* rows) const override { kv_.ReadKeys(begin, end, rows); }
  void ReadValues(int begin, int end, float* rows) const override {
    kv_.ReadKeys(begin, end, rows);
  }
  void ScoreKeys(const float* queries, int num_queries, std::span<const PositionRange> ranges,
                 float* scores, int64_t score_stride) const override {
    kv_.ScoreKeys(queries, num_queries, ranges, scores, score_stride);
  }
  void CountSketchBytes(int64_t bytes) const override { kv_.CountSketchBytes(bytes); }

 private:
  const KvReader& kv_;
};

class WatchedWithValues : public WatchedPolicy {
 public:
  using WatchedPolicy::WatchedPolicy;
  void Select(const HeadView& view, const QueryRows& query,
              std::vector<PositionRange>* attended) override {
    const KeysAsValues kv(*view.kv);
    WatchedPolicy::Select({view.layer, view.kv_head, &kv}, query, attended);
  }
};

// What all watches see.
struct Watched {
  Selections selections;  // widened
  std::vector<int64_t> counts;
  std::vector<float> reads, audit;
};

Watched WatchBehind(int num_cached, const TestSequence& sequence, const PolicyParams& params) {
  constexpr int kStep = 20;
  const int prompt = sequence.shape.num_prompt_tokens;
  WatchedPolicy* policy = nullptr;
  PolicyDriver driver(sequence, [&](const SequenceShape& shape, const auto* sentences) {
    auto created = CreatePolicy(params, shape, sentences);
    EXPECT_OK(created);
    auto watched = std::make_unique<WatchedWithValues>(std::move(created).value(), shape);
    watched->KeepRecall(params.budget_tokens, /*min_recall=*/0.8);
    watched->WatchReads({prompt / 2, prompt});
    watched->Audit(/*fraction=*/0.5, /*key=*/1);
    policy = watched.get();
    return watched;
  });
  driver.BeginBehind(num_cached);
  driver.StepOnThreads(prompt);
  Watched seen;
  for (int first = prompt; first < sequence.num_tokens; first += kStep) {
    policy->BeginStep(first, kStep);
    driver.StepOnThreads(first + kStep);
    const RecallCounts& counts = policy->contract()->step_counts();
    seen.counts.insert(seen.counts.end(), {counts.checked, counts.widened, counts.full});
    const auto reads = policy->reads()->step_reads();
    seen.reads.insert(seen.reads.end(), reads.begin(), reads.end());
    for (const auto& [recall, output_error] : policy->audit()->step_samples()) {
      seen.audit.insert(seen.audit.end(), {recall, output_error});
    }
  }
  seen.selections = driver.selections();
  return seen;
}

class CachedPrefixTest : public testing::TestWithParam<Case> {
 protected:
  const PolicyParams& params() const { return GetParam().params; }
  static TestSequence Sequence(uint32_t seed) {
    const int num_prompt_tokens = GetParam().num_prompt_tokens;
    return MakeRandomSequence(
        {.shape = {3, 2, 3, 32, num_prompt_tokens}, .num_tokens = num_prompt_tokens + kGenerated},
        seed);
  }
};

TEST_P(CachedPrefixTest, SelectsAndWeighsAsIfItHadSeenAllOfThePrompt) {
  const TestSequence sequence = Sequence(1);
  for (const int max_step : {7, 4096}) {
    const Outcome expected = RunBehind(0, sequence, params(), max_step);
    for (const int cut : Cuts(sequence, params())) {
      const Outcome got = RunBehind(cut, sequence, params(), max_step);
      EXPECT_EQ(got.selections, expected.selections) << cut << " cached, steps of " << max_step;
      EXPECT_EQ(got.bytes, expected.bytes) << cut << " cached, steps of " << max_step;
    }
  }
}

TEST_P(CachedPrefixTest, AForkGoesOnFromThePrompt) {
  const TestSequence sequence = Sequence(2);
  const TestSequence other = MakeRandomContinuation(sequence, sequence.num_tokens, 3);
  const Outcome expected = ForkBehind(0, sequence, other, params());
  for (const int cut : Cuts(sequence, params())) {
    const Outcome got = ForkBehind(cut, sequence, other, params());
    EXPECT_EQ(got.selections, expected.selections) << cut << " cached";
    EXPECT_EQ(got.bytes, expected.bytes) << cut << " cached";
  }
}

TEST_P(CachedPrefixTest, WhatWatchesItSeesTheSame) {
  const TestSequence sequence = Sequence(4);
  const Watched expected = WatchBehind(0, sequence, params());
  for (const int cut : Cuts(sequence, params())) {
    const Watched got = WatchBehind(cut, sequence, params());
    EXPECT_EQ(got.selections, expected.selections) << cut << " cached";
    EXPECT_EQ(got.counts, expected.counts) << cut << " cached";
    EXPECT_EQ(got.reads, expected.reads) << cut << " cached";
    EXPECT_EQ(got.audit, expected.audit) << cut << " cached";
  }
}

TEST_P(CachedPrefixTest, QueriesThatItNeedNotSeeTellItNothing) {
  const TestSequence sequence = Sequence(5);
  const TestSequence other = WithOtherQueries(sequence, 0, FirstQuery(sequence, params()));
  EXPECT_EQ(RunPolicy(other, params(), 16, 1), RunPolicy(sequence, params(), 16, 1));
}

INSTANTIATE_TEST_SUITE_P(All, CachedPrefixTest, testing::ValuesIn(Cases()), Name);

// A policy that asked for more than it needs would have less of a prompt cached. The sentence that
// the prompt leaves unfinished is longer than any policy looks back.
TEST(PromptQueriesTest, TheQueriesThatAPolicyHasToSeeCountFromTheFirstOn) {
  constexpr int kPrompt = 600, kUnfinished = 40;
  TestSequence sequence = MakeRandomSequence({{3, 2, 3, 32, kPrompt}, kPrompt + 10}, 6);
  sequence.sentences.clear();
  for (int end = 20; end <= kPrompt - kUnfinished; end += 20) {
    sequence.sentences.push_back({end - 20, end, end - 1});
  }
  for (const PolicyParams& params : AllPolicies(128)) {
    const Selections expected = RunPolicy(sequence, params, 64, 1);
    const int first = FirstQuery(sequence, params);
    EXPECT_EQ(RunBehind(first, sequence, params, 64).selections, expected) << Fingerprint(params);
    if (first == kPrompt - 1) continue;  // its token is computed for the logits
    // Where all count, the earliest have no choice: they see few keys, or keep these anyhow.
    const int end = first == 0 ? kPrompt / 2 : first + 1;
    EXPECT_NE(RunPolicy(WithOtherQueries(sequence, first, end), params, 64, 1), expected)
        << Fingerprint(params);
  }
}

}  // namespace
}  // namespace skv::policy
