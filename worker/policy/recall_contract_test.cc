// The contract against softmax in double precision: what each selection holds, which ones must be
// widened, and what they attend then.

#include "worker/policy/recall_contract.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "common/testing/status_matchers.h"
#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"
#include "worker/policy/watched_policy.h"

namespace skv::policy {
namespace {

constexpr int kPrompt = 150, kTokens = 190, kBudget = 48;
// Single precision: no more is promised.
constexpr double kRounding = 1e-5;
const SequenceShape kShape = {.num_layers = 3,
                              .num_kv_heads = 2,
                              .group_size = 3,
                              .head_dim = 32,
                              .num_prompt_tokens = kPrompt};

// From flat attention in the first layer to peaked in the last, where the heads of a group agree,
// so that every outcome occurs.
TestSequence MakeSequence(uint32_t seed) {
  TestSequence sequence =
      MakeRandomSequence({.shape = kShape, .num_tokens = kTokens, .max_sentence = 20}, seed);
  const size_t layer_queries = sequence.queries.size() / kShape.num_layers;
  for (size_t i = 0; i < sequence.queries.size(); ++i) {
    const size_t layer = i / layer_queries;
    sequence.queries[i] *= 0.25f + 2 * layer * layer;
    const size_t group_width = kShape.group_size * kShape.head_dim;
    if (layer == 2) {
      sequence.queries[i] = sequence.queries[i / group_width * group_width + i % kShape.head_dim];
    }
  }
  return sequence;
}

PolicyDriver::Creator Bound(const PolicyParams& params, WatchedPolicy** watched) {
  return [=](const SequenceShape& shape, const std::vector<Sentence>* sentences) {
    auto policy = CreatePolicy(params, shape, sentences);
    EXPECT_OK(policy);
    auto bound = std::make_unique<WatchedPolicy>(std::move(policy).value(), shape);
    bound->KeepRecall(params.budget_tokens, params.min_recall);
    if (watched != nullptr) *watched = bound.get();
    return bound;
  };
}

std::vector<char> Marks(const std::vector<PositionRange>& ranges, int num_visible) {
  std::vector<char> marks(num_visible, 0);
  for (const PositionRange& range : ranges) {
    std::fill(marks.begin() + range.begin, marks.begin() + range.end, 1);
  }
  return marks;
}

// The least that a query head of the group finds in `selection`.
double LeastRecall(const TestSequence& sequence, int number, int position,
                   const std::vector<PositionRange>& selection) {
  const int layer = number / kShape.num_kv_heads, kv_head = number % kShape.num_kv_heads;
  const std::vector<char> marks = Marks(selection, position + 1);
  double least = 1;
  for (int h = 0; h < kShape.group_size; ++h) {
    const float* const query = sequence.Query(layer, kv_head, position) + h * kShape.head_dim;
    double held = 0, total = 0;
    for (int i = 0; i <= position; ++i) {
      double dot = 0;
      for (int c = 0; c < kShape.head_dim; ++c) {
        dot += double{query[c]} * sequence.Key(layer, kv_head, i)[c];
      }
      const double weight = std::exp(dot / std::sqrt(kShape.head_dim));
      total += weight;
      if (marks[i]) held += weight;
    }
    least = std::min(least, held / total);
  }
  return least;
}

int Size(const std::vector<PositionRange>& ranges) {
  int size = 0;
  for (const PositionRange& range : ranges) size += range.end - range.begin;
  return size;
}

class RecallContractTest : public testing::TestWithParam<std::string_view> {
 protected:
  static PolicyParams Params(double min_recall) {
    return {.name = std::string(GetParam()), .budget_tokens = kBudget, .min_recall = min_recall};
  }
};

TEST_P(RecallContractTest, EverySelectionHoldsWhatWasPromisedAndTheOthersStayAsTheyWere) {
  constexpr double kMinRecall = 0.99;
  const TestSequence sequence = MakeSequence(1);
  WatchedPolicy* watched = nullptr;
  PolicyDriver driver(sequence, Bound(Params(kMinRecall), &watched));
  std::mt19937 random(1);
  driver.RunTo(kPrompt, 64, random);
  RecallCounts counts;
  for (int first = kPrompt; first < kTokens; first += 10) {
    watched->BeginStep(first, 10);
    driver.StepOnThreads(first + 10);
    counts += watched->contract()->step_counts();
  }
  CheckWellFormed(sequence, driver.selections());

  const Selections plain = RunPolicy(sequence, Params(0), 10, 1);
  RecallCounts expected;
  for (int number = 0; number < driver.NumHeads(); ++number) {
    for (int position = kPrompt; position < kTokens; ++position) {
      SCOPED_TRACE(testing::Message() << number << " " << position);
      const auto& before = plain[number][position - kPrompt];
      const auto& after = driver.selections()[number][position - kPrompt];
      EXPECT_GE(LeastRecall(sequence, number, position, after), kMinRecall - kRounding);
      ++expected.checked;
      if (after == before) {
        EXPECT_GE(LeastRecall(sequence, number, position, before), kMinRecall - kRounding);
        continue;
      }
      EXPECT_LT(LeastRecall(sequence, number, position, before), kMinRecall + kRounding);
      ++expected.widened;
      const std::vector<char> marks = Marks(after, position + 1);
      for (const PositionRange& range : before) {
        EXPECT_TRUE(std::all_of(marks.begin() + range.begin, marks.begin() + range.end,
                                [](char mark) { return mark; }));
      }
      if (Size(after) == position + 1) {
        ++expected.full;
      } else {
        EXPECT_EQ(Size(after), Size(before) + kBudget);
      }
    }
  }
  EXPECT_EQ(counts, expected);
  EXPECT_GT(counts.widened, 0);
  EXPECT_GT(counts.full, 0);
  EXPECT_LT(counts.full, counts.widened) << "one budget more helps somewhere";
  EXPECT_LT(counts.widened, counts.checked) << "some are good as they are";
}

TEST_P(RecallContractTest, StepsAndForksDoNotMatter) {
  const TestSequence sequence = MakeSequence(2);
  const PolicyParams params = Params(0.95);
  const Selections want = RunPolicy(sequence, Bound(params, nullptr), 1, 1);
  EXPECT_EQ(RunPolicy(sequence, Bound(params, nullptr), 30, 2), want);
  EXPECT_NE(RunPolicy(sequence, Params(0), 30, 2), want);

  std::mt19937 random(3);
  PolicyDriver parent(sequence, Bound(params, nullptr));
  parent.RunTo(kPrompt + 5, 64, random);
  PolicyDriver child(sequence, parent);
  child.RunTo(kTokens, 7, random);
  EXPECT_EQ(child.selections(), want);
}

TEST_P(RecallContractTest, AllMassIsEverything) {
  const TestSequence sequence = MakeSequence(3);
  const Selections selections = RunPolicy(sequence, Bound(Params(1), nullptr), 30, 1);
  // The first layer is so flat that every token has some.
  for (int i = 0; i < kTokens - kPrompt; ++i) {
    EXPECT_EQ(selections[0][i], (std::vector<PositionRange>{{0, kPrompt + i + 1}}));
  }
}

INSTANTIATE_TEST_SUITE_P(All, RecallContractTest,
                         testing::Values("sentencekv", "streaming", "snapkv", "h2o", "oracle_topk"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace skv::policy
