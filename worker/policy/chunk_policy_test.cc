#include "worker/policy/chunk_policy.h"

#include <gtest/gtest.h>

#include <vector>

#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {
namespace {

TEST(ChunkPolicyTest, WholeChunksAreKeptAndOddLayersFollowTheOneBelow) {
  constexpr int kPrompt = 100, kTokens = 102;
  TestSequence sequence = {{3, 1, 1, 32, kPrompt}, kTokens, {}, {}, {}};
  sequence.keys.resize(3 * kTokens * 32, 0.0f);
  sequence.queries.resize(3 * kTokens * 32, 0.0f);
  const auto ask = [&](int layer, int channel) {
    for (int t = kPrompt - 8; t < kPrompt; ++t) {
      sequence.queries[(layer * kTokens + t) * 32 + channel] = 60.0f;
    }
  };
  for (int layer = 0; layer < 3; ++layer) {
    sequence.keys[(layer * kTokens + 40) * 32 + 5] = 1.0f;
    sequence.keys[(layer * kTokens + 70) * 32 + 6] = 1.0f;
  }
  ask(0, 5);
  ask(1, 6);
  ask(2, 6);
  const Selections selections = RunPolicy(sequence, {"chunk", 32, 0}, 512, 1);
  // A window of 8, the chunk that is asked for, and 8 tokens of the first.
  const std::vector<PositionRange> with_40 = {{0, 8}, {32, 48}, {92, 102}};
  EXPECT_EQ(selections[0][1], with_40);
  EXPECT_EQ(selections[1][1], with_40);
  EXPECT_EQ(selections[2][1], (std::vector<PositionRange>{{0, 8}, {64, 80}, {92, 102}}));
}

}  // namespace
}  // namespace skv::policy
