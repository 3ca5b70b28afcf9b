#include "worker/policy/snapkv_policy.h"

#include <gtest/gtest.h>

#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {
namespace {

// 200 prompt tokens, one layer and head; key 60 along the axis 1, key 120 along the axis 2.
TestSequence TwoNeedles() {
  TestSequence sequence = {{1, 1, 1, 32, 200}, 210, {}, {}, {}};
  sequence.keys.resize(210 * 32, 0.0f);
  sequence.queries.resize(210 * 32, 0.0f);
  sequence.keys[60 * 32 + 1] = 1.0f;
  sequence.keys[120 * 32 + 2] = 1.0f;
  return sequence;
}

TEST(SnapKvPolicyTest, OnlyTheWindowsQuestionsCountAndWhatIsGeneratedIsKept) {
  TestSequence sequence = TwoNeedles();
  sequence.queries[(200 - 11) * 32 + 1] = 1000.0f;  // too early: the window has 10 queries
  sequence.queries[(200 - 10) * 32 + 2] = 1000.0f;
  const HeadSelections rows = RunPolicy(sequence, {"snapkv", 40, 0}, 64, 1)[0];
  // The needle with its neighbours, 23 of equal scores from the start, the window.
  EXPECT_EQ(rows[0], (std::vector<PositionRange>{{0, 23}, {117, 124}, {190, 201}}));
  EXPECT_EQ(rows[9], (std::vector<PositionRange>{{0, 23}, {117, 124}, {190, 210}}));
}

TEST(SnapKvPolicyTest, IndexBytesAreThoseOfTheKeptRanges) {
  const TestSequence sequence = TwoNeedles();
  std::mt19937 random(1);
  PolicyDriver driver(sequence, {"snapkv", 40, 0});
  driver.RunTo(200, 64, random);
  EXPECT_EQ(driver.policy().index_bytes(), 2 * sizeof(PositionRange));  // all equal: 0..29, window
}

}  // namespace
}  // namespace skv::policy
