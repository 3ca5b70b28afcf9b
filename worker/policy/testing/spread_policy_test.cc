// The example of docs/kv-policies.md, in a program whose list of policies has its line.

#include "worker/policy/testing/spread_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {
namespace {

constexpr SequenceShape kShape = {2, 2, 3, 32, 90};

TEST(SpreadPolicyTest, OneLineRegistersIt) {
  EXPECT_EQ(PolicyNames().back(), "spread");
  EXPECT_TRUE(HasBudget("spread"));
  EXPECT_FALSE(HasSemanticFactor("spread"));
  EXPECT_THAT(Fingerprint({"spread", 64, 0}), testing::StartsWith("spread/budget=64/"));
}

TEST(SpreadPolicyTest, AttendsTheLastPositionsAndOthersAtEvenDistances) {
  const SequenceShape shape = {1, 1, 1, 32, 1};
  const TestSequence sequence = MakeRandomSequence({shape, 33}, 1);
  const Selections selections = RunPolicy(sequence, {"spread", 16, 0}, 8, 1);
  EXPECT_EQ(selections[0][15 - 1], (std::vector<PositionRange>{{0, 16}}));
  EXPECT_EQ(
      selections[0][32 - 1],
      (std::vector<PositionRange>{
          {0, 1}, {3, 4}, {6, 7}, {9, 10}, {12, 13}, {15, 16}, {18, 19}, {21, 22}, {25, 33}}));
}

TEST(SpreadPolicyTest, AttendsTheBudgetHoweverTheStepsAreCutAndForked) {
  const TestSequence sequence = MakeRandomSequence({kShape, 200}, 2);
  const PolicyParams params = {"spread", 100, 0};
  const Selections expected = RunPolicy(sequence, params, 1, 1);
  CheckWellFormed(sequence, expected);
  for (const HeadSelections& rows : expected) {
    for (const std::vector<PositionRange>& row : rows) {
      int count = 0;
      for (const PositionRange& range : row) count += range.end - range.begin;
      EXPECT_EQ(count, std::min(100, row.back().end));
    }
  }
  EXPECT_EQ(RunPolicy(sequence, params, 4096, 3), expected);
  std::mt19937 random(4);
  PolicyDriver parent(sequence, params);
  parent.RunTo(kShape.num_prompt_tokens + 20, 16, random);
  PolicyDriver fork(sequence, parent);
  fork.RunTo(sequence.num_tokens, 16, random);
  EXPECT_EQ(fork.selections(), expected);
}

}  // namespace
}  // namespace skv::policy
