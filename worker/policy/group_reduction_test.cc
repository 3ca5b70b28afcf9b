#include "worker/policy/group_reduction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace skv::policy {
namespace {

using testing::ElementsAre;
using testing::FloatNear;

// Two heads that order three sentences otherwise, the second with larger scores.
std::vector<float> Keys(GroupReduction reduction) {
  const float ln2 = std::log(2.0f);
  std::vector<float> scores = {2 * ln2, ln2, 0, -1, -11, -21, -31, -1};  // rows of 3, stride 4
  const std::vector<float> lengths = {1, 1, 2};
  std::vector<float> keys(3);
  scores[3] = 100;  // not of the row
  ReduceGroup(reduction, lengths.data(), 3, 2, scores.data(), 4, keys.data());
  return keys;
}

TEST(GroupReductionTest, SharesAreOfTokensThatSentencesStandFor) {
  // 4, 2 and 1 over 4 + 2 + 2 * 1 of the first head, 1, 0 and 0 of the second.
  EXPECT_THAT(Keys(GroupReduction::kMaxShare),
              ElementsAre(FloatNear(1, 1e-4f), FloatNear(0.25f, 1e-4f), FloatNear(0.125f, 1e-4f)));
  EXPECT_THAT(
      Keys(GroupReduction::kMeanShare),
      ElementsAre(FloatNear(1.5f, 1e-4f), FloatNear(0.25f, 1e-4f), FloatNear(0.125f, 1e-4f)));
}

TEST(GroupReductionTest, ScoresAreOrderedAsTheyAreFromZeroOn) {
  const float ln2 = std::log(2.0f);
  EXPECT_THAT(Keys(GroupReduction::kMeanScore),
              ElementsAre(FloatNear(20 + 2 * ln2, 1e-4f), FloatNear(10 + ln2, 1e-4f), 0.0f));
}

}  // namespace
}  // namespace skv::policy
