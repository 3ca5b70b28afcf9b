#include "worker/policy/sentencekv_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/key_sketch.h"
#include "worker/policy/sentencekv_colm2025_policy.h"
#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"
#include "worker/policy/testing/reference_sentencekv.h"

namespace skv::policy {

namespace {

PolicyDriver::Creator CreatorOf(const PolicyParams& params, const SentenceKvOptions& options) {
  return [=](const SequenceShape& shape, const std::vector<Sentence>* sentences) {
    return CreateSentenceKvPolicy(params, shape, sentences, options);
  };
}

Selections Reference(const TestSequence& sequence, const PolicyParams& params,
                     const SentenceKvOptions& options) {
  Selections selections;
  for (int layer = 0; layer < sequence.shape.num_layers; ++layer) {
    for (int head = 0; head < sequence.shape.num_kv_heads; ++head) {
      const ReferenceSentenceKv reference(params, options, &sequence, layer, head);
      auto& rows = selections.emplace_back();
      for (int t = sequence.shape.num_prompt_tokens; t < sequence.num_tokens; ++t) {
        rows.push_back(reference.Select(t));
      }
    }
  }
  return selections;
}

Selections RunAll(const TestSequence& sequence, const PolicyParams& params,
                  const SentenceKvOptions& options, int max_step, uint32_t seed) {
  return RunPolicy(sequence, CreatorOf(params, options), max_step, seed);
}

// What Boundary::kFull attends beyond the budget is the reference's to say.
void CheckProperties(const TestSequence& sequence, const Selections& selections, int budget,
                     const SentenceKvOptions& options) {
  CheckWellFormed(sequence, selections);
  for (const HeadSelections& rows : selections) {
    for (size_t i = 0; i < rows.size(); ++i) {
      int count = 0;
      for (const PositionRange& range : rows[i]) count += range.end - range.begin;
      ASSERT_EQ(rows[i].front().begin, 0);
      if (options.boundary == Boundary::kFull && count > budget) continue;
      const int most = std::min(budget, rows[i].back().end);
      ASSERT_LE(count, most);
      const bool fills = options.least_expected == 0 && options.least_of_mean == 0;
      if (fills || most < budget) {
        ASSERT_EQ(count, most);
      }
    }
  }
}

struct Case {
  int budget;
  int group_size;
  double factor;
  SentenceKvOptions options;
  int num_prompt_tokens;
  int num_tokens;
  bool all_equal = false;
  int max_sentence = 40;
};

std::string OptionsOf(const SentenceKvOptions& options) {
  return absl::StrCat("digest ", static_cast<int>(options.digest), ", boundary ",
                      static_cast<int>(options.boundary), ", reduction ",
                      static_cast<int>(options.reduction), ", found ", options.found_per_chosen,
                      ", expected ", options.least_expected, ", least ", options.least_of_mean,
                      options.sketches ? ", by sketches" : ", by keys", ", prompt queries ",
                      options.prompt_queries);
}

void PrintTo(const Case& c, std::ostream* out) {
  *out << "budget " << c.budget << ", group " << c.group_size << ", factor " << c.factor << ", "
       << OptionsOf(c.options) << ", prompt " << c.num_prompt_tokens << " of " << c.num_tokens
       << (c.all_equal ? ", all equal" : "") << ", sentences up to " << c.max_sentence;
}

constexpr SentenceKvOptions kMean = {.digest = Digest::kMean};
constexpr SentenceKvOptions kCuboid = {.digest = Digest::kCuboidMean};
constexpr SentenceKvOptions kLocal = {.boundary = Boundary::kLocal};
constexpr SentenceKvOptions kFull = {.boundary = Boundary::kFull};
constexpr SentenceKvOptions kMeanShare = {.reduction = GroupReduction::kMeanShare};
constexpr SentenceKvOptions kMeanScore = {.reduction = GroupReduction::kMeanScore};
constexpr SentenceKvOptions kOneStage = {.found_per_chosen = 1};
constexpr SentenceKvOptions kTwiceFound = {.found_per_chosen = 2};
constexpr SentenceKvOptions kFilled = {.found_per_chosen = 2, .least_of_mean = 0};
constexpr SentenceKvOptions kExpected = {.least_expected = 2.0f};
constexpr SentenceKvOptions kWanted = {.least_of_mean = 0.5f};
constexpr SentenceKvOptions kByKeys = {.sketches = false};
constexpr SentenceKvOptions kMeanQuery = {.prompt_queries = 5, .blend_newest = false};

class SentenceKvPolicyTest : public testing::TestWithParam<Case> {
 protected:
  PolicyParams params() const { return {"sentencekv", GetParam().budget, GetParam().factor}; }
  TestSequence Sequence(uint32_t seed) const {
    const SequenceShape shape = {2, 2, GetParam().group_size, 32, GetParam().num_prompt_tokens};
    return MakeRandomSequence(
        {shape, GetParam().num_tokens, GetParam().max_sentence, GetParam().all_equal}, seed);
  }
};

TEST_P(SentenceKvPolicyTest, SelectsAsItsDefinitionHoweverTheStepsAreCut) {
  const TestSequence sequence = Sequence(1);
  const Selections expected = Reference(sequence, params(), GetParam().options);
  CheckProperties(sequence, expected, GetParam().budget, GetParam().options);
  for (const int max_step : {1, 7, 64, 4096}) {
    EXPECT_EQ(RunAll(sequence, params(), GetParam().options, max_step, 5), expected)
        << "steps of up to " << max_step;
  }
}

TEST_P(SentenceKvPolicyTest, AForkGoesOnFromThePromptWhateverItsParentGenerated) {
  const TestSequence sequence = Sequence(2);
  const int num_tokens = sequence.num_tokens, prompt = sequence.shape.num_prompt_tokens;
  const TestSequence other = MakeRandomContinuation(sequence, num_tokens, 3);
  std::mt19937 random(4);
  PolicyDriver parent(sequence, CreatorOf(params(), GetParam().options));
  parent.RunTo((prompt + num_tokens) / 2, 16, random);
  PolicyDriver fork(other, parent), twin(sequence, parent);
  fork.RunTo(num_tokens, 16, random);
  parent.RunTo(num_tokens, 16, random);
  twin.RunTo(num_tokens, 16, random);
  const Selections expected = Reference(sequence, params(), GetParam().options);
  EXPECT_EQ(parent.selections(), expected);
  EXPECT_EQ(twin.selections(), expected);
  EXPECT_EQ(fork.selections(), Reference(other, params(), GetParam().options));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, SentenceKvPolicyTest,
    testing::Values(
        Case{16, 1, 0, kCuboid, 100, 200}, Case{16, 3, 2, kMean, 150, 220},
        Case{64, 3, 0, kMean, 300, 400}, Case{64, 3, 0, kCuboid, 300, 400},
        Case{64, 3, 2, kCuboid, 300, 400}, Case{64, 8, 3, kCuboid, 300, 350},
        Case{64, 3, 2.5, kMean, 40, 300}, Case{64, 3, 2, kCuboid, 1, 150},
        Case{100, 3, 0, kCuboid, 350, 450, true}, Case{100, 3, 2, kCuboid, 350, 450, true},
        Case{33, 2, 0, kCuboid, 200, 320, false, 128}, Case{128, 1, 0, kMean, 400, 500, false, 3},
        Case{512, 3, 0, kCuboid, 500, 560}, Case{2048, 3, 2, kCuboid, 2020, 2060},
        Case{64, 3, 0, kLocal, 300, 400, false, 12}, Case{64, 3, 0, kFull, 300, 400},
        Case{64, 3, 2, kFull, 300, 400, false, 6}, Case{33, 2, 2, kFull, 1, 150},
        Case{64, 3, 0, kMeanShare, 300, 400}, Case{64, 8, 2, kMeanShare, 300, 350},
        Case{64, 3, 0, kMeanScore, 300, 400}, Case{64, 1, 2, kMeanScore, 300, 350},
        Case{100, 3, 0, kMeanScore, 350, 450, true}, Case{64, 3, 0, kOneStage, 300, 400},
        Case{64, 3, 2, kTwiceFound, 300, 400}, Case{64, 3, 0, kFilled, 300, 400},
        Case{64, 3, 2, kWanted, 300, 400}, Case{64, 3, 0, kExpected, 300, 400},
        Case{64, 3, 3, kExpected, 300, 400, false, 6},
        Case{100, 3, 0, kExpected, 350, 450, true},  // nothing gets twice the mean
        Case{64, 3, 0, kByKeys, 300, 400}, Case{64, 3, 2, kByKeys, 300, 400, false, 12},
        Case{64, 3, 0, kMeanQuery, 300, 400, false, 12},
        Case{64, 3, 3, kColm2025Options, 300, 400, false, 12},
        Case{256, 3, 2, kColm2025Options, 600, 640}));

// Options that changed nothing would equal the reference as well.
TEST(SentenceKvPolicyTest, EveryOptionChangesWhatIsSelected) {
  const TestSequence sequence = MakeRandomSequence({{2, 2, 3, 32, 300}, 400, 12}, 7);
  const Selections usual = RunAll(sequence, {"sentencekv", 64, 0}, {}, 64, 1);
  for (const SentenceKvOptions& options :
       {kMean, kLocal, kFull, kMeanShare, kMeanScore, kOneStage, kTwiceFound, kFilled, kExpected,
        kWanted, kByKeys, kMeanQuery}) {
    EXPECT_NE(RunAll(sequence, {"sentencekv", 64, 0}, options, 64, 1), usual) << OptionsOf(options);
  }
}

TEST(SentenceKvPolicyTest, ThePublishedSettingFiltersByItsFactorUnlessAnotherIsGiven) {
  const TestSequence sequence = MakeRandomSequence({{2, 2, 3, 32, 300}, 400, 12}, 8);
  for (const double factor : {0.0, 2.0}) {
    const PolicyParams params = {"sentencekv", 64, factor == 0 ? kColm2025Factor : factor};
    EXPECT_EQ(RunPolicy(sequence, {"sentencekv_colm2025", 64, factor}, 64, 1),
              Reference(sequence, params, kColm2025Options))
        << factor;
  }
}

TEST(SentenceKvPolicyTest, HeadsMayRunOnThreadsOfTheirOwn) {
  const TestSequence sequence = MakeRandomSequence({{2, 2, 3, 32, 200}, 300}, 1);
  const PolicyParams params = {"sentencekv", 64, 2};
  PolicyDriver driver(sequence, CreatorOf(params, kCuboid));
  for (const int end : {90, 200, 230, 300}) driver.StepOnThreads(end);
  EXPECT_EQ(driver.selections(), Reference(sequence, params, kCuboid));
}

// A sequence of 20 sentences of 10 tokens; each has keys along an axis of its own.
TestSequence AxisSequence(int num_tokens) {
  TestSequence sequence = {{1, 1, 1, 32, 200}, num_tokens, {}, {}, {}};
  sequence.keys.resize(num_tokens * 32, 0.0f);
  sequence.queries.resize(num_tokens * 32, 0.0f);
  for (int t = 0; t < 200; ++t) sequence.keys[t * 32 + t / 10] = 1.0f;
  for (int s = 0; s < 20; ++s) sequence.sentences.push_back({10 * s, 10 * s + 10, 10 * s + 9});
  return sequence;
}

TEST(SentenceKvPolicyTest, TheSentenceThatIsAskedForIsAttended) {
  TestSequence sequence = AxisSequence(202);
  for (int t = 200; t < 202; ++t) sequence.queries[t * 32 + 7] = 100.0f;  // asks for sentence 7
  sequence.queries[201 * 32 + 11] = 50.0f;                                // and less for 11
  for (SentenceKvOptions options : {kMean, kCuboid}) {
    options.least_of_mean = 0;
    const Selections selections = RunAll(sequence, {"sentencekv", 40, 0}, options, 512, 1);
    // 5 of the start, 10 recent, sentence 7, of the others, 15 tokens in order.
    EXPECT_EQ(selections[0][0], (std::vector<PositionRange>{{0, 20}, {70, 80}, {191, 201}}));
    EXPECT_EQ(selections[0][1],
              (std::vector<PositionRange>{{0, 10}, {70, 80}, {110, 120}, {192, 202}}));
  }
}

// The floor is a share of what a token gets in the mean, whatever the lengths of sentences.
TEST(SentenceKvPolicyTest, SentencesThatAreHardlyExpectedToBeReadAreNotFound) {
  TestSequence sequence = {{1, 1, 1, 32, 200}, 201, {}, {}, {}};
  sequence.keys.resize(201 * 32, 0.0f);
  sequence.queries.resize(201 * 32, 0.0f);
  std::vector<int> ends = {5};
  for (int s = 1; s < 12; ++s) ends.push_back(ends.back() + (s % 2 == 0 ? 30 : s == 11 ? 10 : 6));
  ASSERT_EQ(ends.back(), 195);
  for (size_t s = 0; s < ends.size(); ++s) {
    const int begin = s == 0 ? 0 : ends[s - 1];
    sequence.sentences.push_back({begin, ends[s], ends[s] - 1});
    for (int t = begin; t < ends[s]; ++t) sequence.keys[t * 32 + s] = 1.0f;
  }
  // What a token of these sentences gets, against one of any other.
  const auto ask = [&](int sentence, double times) {
    sequence.queries[200 * 32 + sentence] = static_cast<float>(std::log(times) * std::sqrt(32.0));
  };
  ask(4, 100);
  ask(6, 1.5);
  SentenceKvOptions options = {.digest = Digest::kMean,
                               .boundary = Boundary::kLocal,
                               .found_per_chosen = 64,
                               .least_of_mean = 0,
                               .prompt_queries = 0};
  const auto select = [&](float least) {
    options.least_expected = least;
    return RunAll(sequence, {"sentencekv", 150, 0}, options, 512, 1)[0][0];
  };
  // Between start and recent tokens lie 151; the mean one gets (30 * 100 + 30 * 1.5 + 91) / 151, 21
  // times what most do.
  EXPECT_EQ(select(0.2f), (std::vector<PositionRange>{{0, 18}, {47, 77}, {169, 201}}));
  EXPECT_EQ(select(0.06f), (std::vector<PositionRange>{{0, 18}, {47, 77}, {83, 113}, {169, 201}}));
  int count = 0;
  for (const PositionRange& range : select(0.04f)) count += range.end - range.begin;
  EXPECT_EQ(count, 150);
}

TEST(SentenceKvPolicyTest, OnlyTheLastPromptQueriesCount) {
  TestSequence sequence = AxisSequence(201);
  sequence.sentences.resize(15);                 // unfinished from 150 on
  sequence.queries[(200 - 33) * 32 + 3] = 1e4f;  // asks for sentence 3, too early
  sequence.queries[(200 - 32) * 32 + 7] = 1e3f;  // asks for sentence 7, and not for 3
  sequence.queries[(200 - 32) * 32 + 3] = -1e3f;
  for (const int s : {3, 7}) sequence.queries[200 * 32 + s] = 1.0f;  // of what is found, for both
  const Selections selections = RunAll(sequence, {"sentencekv", 80, 0}, kFilled, 512, 1);
  EXPECT_EQ(selections[0][0], (std::vector<PositionRange>{{0, 19}, {70, 80}, {150, 201}}));
}

TEST(SentenceKvPolicyTest, AGeneratedSentenceCanBeChosenOnceItHasEnded) {
  TestSequence sequence = AxisSequence(260);
  sequence.sentences.push_back({200, 210, 209});
  sequence.sentences.push_back({210, 258, 257});
  for (int t = 200; t < 210; ++t) sequence.keys[t * 32 + 30] = 1.0f;
  for (int t = 258; t < 260; ++t) sequence.queries[t * 32 + 30] = 200.0f;
  const Selections selections = RunAll(sequence, {"sentencekv", 40, 0}, kCuboid, 1, 1);
  EXPECT_THAT(selections[0].back(), testing::Contains(PositionRange{200, 210}));
}

TEST(SentenceKvPolicyTest, OfWhatTheSentenceAsksForTheQueryChooses) {
  TestSequence sequence = AxisSequence(201);
  sequence.sentences.resize(15);  // unfinished from 150 on
  // It asks for sentences 4, 9 and 11; the query at 200 itself for the end of 9, and for 13.
  for (int t = 150; t < 200; ++t) {
    for (const int s : {4, 9, 11}) sequence.queries[t * 32 + s] = 200.0f;
    sequence.queries[t * 32 + 13] = -200.0f;
  }
  for (int t = 95; t < 100; ++t) sequence.keys[t * 32 + 30] = 1.0f;
  sequence.queries[200 * 32 + 30] = sequence.queries[200 * 32 + 13] = 50.0f;
  const Selections selections = RunAll(sequence, {"sentencekv", 76, 0}, kFilled, 512, 1);
  // 9 of the start and 51 recent leave 16: the end of 9, and in order 11 of what else is found.
  EXPECT_EQ(selections[0][0],
            (std::vector<PositionRange>{{0, 11}, {40, 49}, {95, 100}, {150, 201}}));
}

TEST(SentenceKvPolicyTest, SketchesAreOfThePromptAndOfWhatIsGenerated) {
  TestSequence sequence = AxisSequence(260);
  sequence.sentences.push_back({200, 210, 209});
  std::mt19937 random(1);
  const auto sketches_after = [&](int num_tokens, const SentenceKvOptions& options) {
    PolicyDriver driver(sequence, CreatorOf({"sentencekv", 40, 0}, options));
    driver.RunTo(num_tokens, 64, random);
    return driver.policy().sketch_bytes();
  };
  const size_t sketch = kernels::KeySketchBytes(32);
  EXPECT_EQ(sketches_after(100, {}), 100 * sketch);
  EXPECT_EQ(sketches_after(200, {}), 200 * sketch);
  EXPECT_EQ(sketches_after(212, {}), 210 * sketch);
  EXPECT_EQ(sketches_after(212, kOneStage), 0) << "whole sentences are not chosen from";
  EXPECT_EQ(sketches_after(212, kByKeys), 0);
}

TEST(SentenceKvPolicyTest, IndexBytesAreThoseOfDigestsAndRunningQueries) {
  const TestSequence sequence = AxisSequence(201);
  std::mt19937 random(1);
  PolicyDriver driver(sequence, CreatorOf({"sentencekv", 40, 0}, kCuboid));
  // The sum and the newest of the queries, of the prompt and of what is generated.
  EXPECT_EQ(driver.policy().index_bytes(), 2u * 2 * 32 * sizeof(float));
  driver.RunTo(200, 64, random);
  // 20 sentences in two blocks of 16, 64 channels in half bytes with two steps and minima, and
  // where each lies.
  // The prompt's running query, and a copy of it, have a mean that is carried on as well.
  EXPECT_EQ(driver.policy().index_bytes(),
            2u * 16 * (64 / 2 + 2 * 4) + 20 * sizeof(PositionRange) + 2u * 3 * 32 * sizeof(float));
}

}  // namespace
}  // namespace skv::policy
