#include "eval/fidelity/logit_comparison.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::eval {
namespace {

const std::vector<float> kFull = {1, 4, 2, 0, -1, 3, -2}, kOther = {4, 1, 2, 0, -1, -5, 3};

TEST(LogitComparisonTest, EqualLogitsDivergeByNothing) {
  LogitComparison comparison;
  for (int i = 0; i < 3; ++i) comparison.Add(kFull, kFull);
  const nlohmann::json json = comparison.Summarize();
  EXPECT_EQ(json["f5_kl"], 0);
  EXPECT_EQ(json["f5_kl_p99"], 0);
  EXPECT_EQ(json["f6_top1"], 1);
  EXPECT_EQ(json["f6_top5"], 1);
  EXPECT_EQ(json["f7_free_run"], 3);
}

TEST(LogitComparisonTest, MeasuresFollowTheirDefinitions) {
  double full_sum = 0, other_sum = 0, divergence = 0;
  for (size_t i = 0; i < kFull.size(); ++i) {
    full_sum += std::exp(double{kFull[i]});
    other_sum += std::exp(double{kOther[i]});
  }
  for (size_t i = 0; i < kFull.size(); ++i) {
    const double p = std::exp(double{kFull[i]}) / full_sum,
                 q = std::exp(double{kOther[i]}) / other_sum;
    divergence += p * std::log(p / q);
  }
  LogitComparison comparison;
  comparison.Add(kFull, kFull);
  comparison.Add(kFull, kOther);
  comparison.Add(kFull, kFull);
  const nlohmann::json json = comparison.Summarize();
  EXPECT_NEAR(json["f5_kl"], divergence / 3, 1e-9);
  EXPECT_NEAR(json["f5_kl_p99"], divergence, 1e-9);
  EXPECT_NEAR(json["f6_top1"], 2.0 / 3, 1e-9);
  // The five likeliest are 1, 5, 2, 0, 3 and 0, 6, 2, 1, 3: four of five.
  EXPECT_NEAR(json["f6_top5"], (1 + 0.8 + 1) / 3, 1e-9);
  EXPECT_EQ(json["f7_free_run"], 1);
  EXPECT_NEAR(NegativeLogLikelihood(kFull, 5), -std::log(std::exp(3.0) / full_sum), 1e-9);
}

}  // namespace
}  // namespace skv::eval
