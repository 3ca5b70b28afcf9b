#include "worker/policy/h2o_policy.h"

#include <gtest/gtest.h>

#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {
namespace {

constexpr int kWidth = 32;

// One layer and head. Every query wants position 0 so much that the others get exactly nothing.
TestSequence SinkSequence(int num_prompt, int num_tokens) {
  TestSequence sequence = {{1, 1, 1, kWidth, num_prompt}, num_tokens, {}, {}, {}};
  sequence.keys.resize(num_tokens * kWidth, 0.0f);
  sequence.queries.resize(num_tokens * kWidth, 0.0f);
  sequence.keys[0] = 1.0f;
  for (int t = 0; t < num_tokens; ++t) sequence.queries[t * kWidth] = 4096.0f;
  return sequence;
}

// Makes the query at `position` want `key` and nothing else.
void Ask(TestSequence* sequence, int position, int key) {
  sequence->queries[position * kWidth] = 0.0f;
  sequence->queries[position * kWidth + key % (kWidth - 1) + 1] = 4096.0f;
  sequence->keys[key * kWidth + key % (kWidth - 1) + 1] = 1.0f;
}

TEST(H2oPolicyTest, OfEqualScoresTheSmallerPositionIsKept) {
  const TestSequence sequence = SinkSequence(40, 60);
  const HeadSelections rows = RunPolicy(sequence, {"h2o", 16, 0}, 16, 1)[0];
  // 8 of the prompt's first, and then always the last 8: each token that leaves them is the largest
  // of those without a score.
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(rows[i], (std::vector<PositionRange>{{0, 8}, {33 + i, 41 + i}})) << i;
  }
}

TEST(H2oPolicyTest, WhatGotAttentionStaysAndAFallenHitterGoes) {
  TestSequence sequence = SinkSequence(40, 60);
  for (int t = 16; t < 20; ++t) Ask(&sequence, t, 12);  // 4 in the prompt
  Ask(&sequence, 45, 40);                               // 1 while 40 is recent
  const HeadSelections rows = RunPolicy(sequence, {"h2o", 16, 0}, 16, 1)[0];
  EXPECT_EQ(rows[0], (std::vector<PositionRange>{{0, 7}, {12, 13}, {33, 41}}));
  // 40 has left the last 8 and takes the place of the largest one without a score.
  EXPECT_EQ(rows[8], (std::vector<PositionRange>{{0, 6}, {12, 13}, {40, 49}}));
  EXPECT_EQ(rows.back(), (std::vector<PositionRange>{{0, 6}, {12, 13}, {40, 41}, {52, 60}}));
}

TEST(H2oPolicyTest, IndexBytesAreScoresThenWhatIsKept) {
  const TestSequence sequence = SinkSequence(64, 66);
  std::mt19937 random(1);
  PolicyDriver driver(sequence, {"h2o", 16, 0});
  EXPECT_EQ(driver.policy().index_bytes(), 0u);
  driver.RunTo(64, 64, random);
  EXPECT_EQ(driver.policy().index_bytes(), 16u * (4 + 4));  // positions, scores
  driver.RunTo(65, 1, random);
  // The same beside the sequence's own: positions, scores, the order, and keys in bf16.
  EXPECT_EQ(driver.policy().index_bytes(), 16u * (4 + 4) + 16u * (4 + 4 + 4 + 2 * kWidth));
}

}  // namespace
}  // namespace skv::policy
