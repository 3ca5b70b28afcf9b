#include "worker/policy/random_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {
namespace {

constexpr int kBudget = 64, kPrompt = 300, kTokens = 500;
const PolicyParams kParams = {"random", kBudget, 0};

TestSequence Sequence(uint32_t seed) {
  return MakeRandomSequence(
      {.shape = {2, 2, 3, 32, kPrompt}, .num_tokens = kTokens, .max_sentence = 40}, seed);
}

// How often each position is attended over all generated positions of one head.
std::vector<int> Counts(const HeadSelections& rows) {
  std::vector<int> counts(kTokens, 0);
  for (const auto& row : rows) {
    for (const PositionRange& range : row) {
      for (int t = range.begin; t < range.end; ++t) ++counts[t];
    }
  }
  return counts;
}

TEST(RandomPolicyTest, TheEndsAreAttendedAndTheRestIsDrawnEvenly) {
  const TestSequence sequence = Sequence(1);
  const Selections selections = RunPolicy(sequence, kParams, 64, 1);
  CheckWellFormed(sequence, selections);
  for (const auto& row : selections[0]) {
    int total = 0;
    for (const PositionRange& range : row) total += range.end - range.begin;
    EXPECT_EQ(total, kBudget);
    EXPECT_EQ(row.front().begin, 0);
    EXPECT_GE(row.front().end, kBudget / 8);
    EXPECT_GE(row.back().end - row.back().begin, kBudget / 4);
  }
  // Of about 340 positions some 30 are drawn, 200 times: each about 17 times.
  const std::vector<int> counts = Counts(selections[0]);
  const auto [least, most] = std::minmax_element(counts.begin() + 8, counts.begin() + 250);
  EXPECT_GE(*least, 3);
  EXPECT_LE(*most, 40);
}

TEST(RandomPolicyTest, TheUnfinishedSentenceIsAttended) {
  TestSequence sequence = Sequence(1);
  sequence.sentences = {{0, kPrompt - 30, kPrompt - 30}};
  const Selections selections = RunPolicy(sequence, kParams, 64, 1);
  for (int i = 0; i < kTokens - kPrompt; ++i) {
    const PositionRange last = selections[0][i].back();
    EXPECT_GE(last.end - last.begin, std::min(31 + i, kBudget - kBudget / 8));
  }
}

TEST(RandomPolicyTest, DrawsDependOnLayerAndPositionAlone) {
  TestSequence one = Sequence(1), other = Sequence(2);
  other.sentences = one.sentences;
  const Selections selections = RunPolicy(one, kParams, 64, 1);
  EXPECT_EQ(RunPolicy(other, kParams, 7, 2), selections);
  EXPECT_EQ(selections[0], selections[1]) << "heads of a layer";
  for (int i = 0; i < kTokens - kPrompt; ++i) {
    EXPECT_NE(selections[0][i], selections[2][i]) << "layers";
  }
}

TEST(RandomPolicyTest, AForkDrawsAsItsParentAndKnowsItsOwnSentences) {
  const TestSequence sequence = Sequence(3), other = MakeRandomContinuation(sequence, kTokens, 4);
  std::mt19937 random(1);
  PolicyDriver parent(sequence, kParams);
  parent.RunTo(kPrompt + 50, 16, random);
  PolicyDriver twin(sequence, parent), fork(other, parent);
  parent.RunTo(kTokens, 16, random);
  twin.RunTo(kTokens, 16, random);
  fork.RunTo(kTokens, 16, random);
  EXPECT_EQ(twin.selections(), parent.selections());
  EXPECT_EQ(fork.selections(), RunPolicy(other, kParams, 64, 1));
}

}  // namespace
}  // namespace skv::policy
