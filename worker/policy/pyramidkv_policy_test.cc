#include "worker/policy/pyramidkv_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace skv::policy {
namespace {

using testing::Each;
using testing::ElementsAre;

TEST(PyramidTokensTest, LowLayersKeepMore) {
  // W = 16, mean 48, min 2.4, max 93.6.
  EXPECT_THAT(PyramidTokens(64, 300, 2), ElementsAre(16 + 94, 16 + 2));
  EXPECT_THAT(PyramidTokens(64, 300, 5), ElementsAre(16 + 94, 16 + 71, 16 + 48, 16 + 25, 16 + 2));
  // The prompt has no more than 84 tokens before the window: min 12.
  EXPECT_THAT(PyramidTokens(64, 100, 4), ElementsAre(16 + 84, 16 + 60, 16 + 36, 16 + 12));
  // 82, 65, 48, 31, 14; and 81, 70, 59, 48, ... without a remainder; 83, 65.5, 48, 30.5, 13 with
  // one.
  EXPECT_THAT(PyramidTokens(64, 99, 5),
              ElementsAre(16 + 83 - 1, 16 + 66, 16 + 48, 16 + 31, 16 + 13));
}

TEST(PyramidTokensTest, WhereAPyramidHasNoRoomAllLayersKeepTheBudget) {
  EXPECT_THAT(PyramidTokens(64, 95, 5), Each(64));  // N < 2 (C - W)
  EXPECT_THAT(PyramidTokens(64, 96, 5), ElementsAre(96, 80, 64, 48, 32));
  EXPECT_THAT(PyramidTokens(24, 100, 5), Each(24));  // min 0.9
  EXPECT_THAT(PyramidTokens(64, 300, 1), ElementsAre(64));
}

TEST(PyramidTokensTest, TheMeanIsTheBudgetAndNoLayerKeepsMoreThanThereIs) {
  for (const int budget : {16, 27, 64, 100, 1024}) {
    for (const int prompt : {budget + 1, 2 * budget - 3, 2 * budget + 5, 10 * budget}) {
      for (const int layers : {1, 2, 3, 4, 28, 30, 32}) {
        const std::vector<int> tokens = PyramidTokens(budget, prompt, layers);
        EXPECT_EQ(std::reduce(tokens.begin(), tokens.end()), layers * budget);
        EXPECT_LE(std::ranges::max(tokens), prompt);
        EXPECT_GT(std::ranges::min(tokens), std::min(32, budget / 4));
      }
    }
  }
}

}  // namespace
}  // namespace skv::policy
