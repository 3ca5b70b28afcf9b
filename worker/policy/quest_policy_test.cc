#include "worker/policy/quest_policy.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {
namespace {

// Three layers of 320 prompt tokens in pages whose keys lie along an axis of their own, half of
// them against it.
TestSequence AxisSequence(int num_tokens) {
  TestSequence sequence = {{3, 1, 1, 32, 320}, num_tokens, {}, {}, {}};
  sequence.keys.resize(3 * num_tokens * 32, 0.0f);
  sequence.queries.resize(3 * num_tokens * 32, 0.0f);
  for (int layer = 0; layer < 3; ++layer) {
    for (int t = 0; t < 320; ++t) {
      sequence.keys[(layer * num_tokens + t) * 32 + t / 16] = t % 2 == 0 ? 1.0f : -2.0f;
    }
  }
  return sequence;
}

TEST(QuestPolicyTest, APageIsWantedForItsBestKeyWhateverTheOthersSay) {
  TestSequence sequence = AxisSequence(321);
  float* const query = sequence.queries.data() + (2 * 321 + 320) * 32;
  query[7] = 10.0f;    // page 7: at most 10 * 1
  query[11] = -10.0f;  // page 11: at most -10 * -2
  query[13] = 9.0f;    // page 13: 9 * 1
  const auto attended = [&](int budget) {
    return RunPolicy(sequence, {"quest", budget, 0}, 512, 1)[2][0];
  };
  EXPECT_EQ(attended(16), (std::vector<PositionRange>{{112, 128}, {176, 192}, {320, 321}}));
  EXPECT_EQ(attended(79),
            (std::vector<PositionRange>{{112, 128}, {176, 192}, {208, 224}, {320, 321}}));
  // Of pages that are wanted alike the first.
  EXPECT_EQ(attended(80),
            (std::vector<PositionRange>{{0, 16}, {112, 128}, {176, 192}, {208, 224}, {320, 321}}));
}

TEST(QuestPolicyTest, TheFirstTwoLayersAttendEverything) {
  const Selections selections = RunPolicy(AxisSequence(330), {"quest", 64, 0}, 512, 1);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(selections[0][i], (std::vector<PositionRange>{{0, 321 + i}}));
    EXPECT_EQ(selections[1][i], selections[0][i]);
    EXPECT_NE(selections[2][i], selections[0][i]);
  }
}

TEST(QuestPolicyTest, IndexBytesAreASixteenthOfTheKv) {
  const TestSequence sequence = AxisSequence(321);
  std::mt19937 random(1);
  PolicyDriver driver(sequence, PolicyParams{"quest", 64, 0});
  EXPECT_EQ(driver.policy().index_bytes(), 0u);
  driver.RunTo(320, 64, random);
  // One layer's 20 pages in two blocks of 16, 64 channels of 2 bytes.
  EXPECT_EQ(driver.policy().index_bytes(), 2u * 16 * 64 * 2);
}

}  // namespace
}  // namespace skv::policy
