#include "worker/policy/largest_scores.h"

#include <gmock/gmock.h>

#include <cmath>

namespace skv::policy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(LargestScoresTest, EqualScoresGoToTheSmallerPosition) {
  const std::vector<float> scores = {1, 3, 0, 3, 2, 1, 3, 0};
  EXPECT_THAT(LargestScores(scores, 0), IsEmpty());
  EXPECT_THAT(LargestScores(scores, 2), ElementsAre(1, 3));
  EXPECT_THAT(LargestScores(scores, 5), ElementsAre(0, 1, 3, 4, 6));
  EXPECT_THAT(LargestScores(scores, 7), ElementsAre(0, 1, 2, 3, 4, 5, 6));
  EXPECT_EQ(LargestScores(scores, 8).size(), 8u);
}

TEST(LargestScoresTest, NotANumberIsTheLargest) {
  EXPECT_THAT(LargestScores({1, NAN, 5, INFINITY, NAN}, 3), ElementsAre(1, 3, 4));
}

}  // namespace
}  // namespace skv::policy
