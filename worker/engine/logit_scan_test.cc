#include "worker/engine/logit_scan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace skv::engine {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> RandomLogits(int n, int seed, float scale = 5.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

TEST(LogitScanTest, FindsTheTwoLargestAtEveryLengthAndPlace) {
  for (int n = 2; n <= 21; ++n) {
    for (int i = 0; i < n; ++i) {
      for (int k = 0; k < n; ++k) {
        if (k == i) continue;
        std::vector<float> logits(n, -7.0f);
        logits[i] = 3.0f;
        logits[k] = 2.5f;
        const LogitSummary summary = Summarize(logits);
        EXPECT_TRUE(summary.valid);
        EXPECT_EQ(summary.largest, 3.0f);
        EXPECT_EQ(summary.second, 2.5f);
        EXPECT_EQ(summary.argmax, i);
        logits[k] = 3.0f;
        EXPECT_EQ(Summarize(logits).second, 3.0f) << "a tie";
        EXPECT_EQ(Summarize(logits).argmax, std::min(i, k)) << "a tie goes to the smaller id";
      }
    }
  }
  EXPECT_EQ(Summarize({1.0f}).second, -kInfinity);
}

TEST(LogitScanTest, ANanOrAPositiveInfinityAnywhereIsInvalid) {
  for (const float bad : {kNan, -kNan, kInfinity}) {
    for (int i = 0; i < 11; ++i) {
      std::vector<float> logits(11, 1.0f);
      logits[i] = bad;
      EXPECT_FALSE(Summarize(logits).valid) << bad << " at " << i;
    }
  }
  EXPECT_FALSE(Summarize({-kInfinity, -kInfinity}).valid);
  EXPECT_FALSE(Summarize({}).valid);
  EXPECT_TRUE(Summarize({-kInfinity, -3.0f}).valid);
}

TEST(LogitScanTest, ExpIsAccurateAndVanishesBelowTheSmallestNormal) {
  double worst = 0.0;
  for (double x = -87.3; x <= 0.0; x += 0.00037) {
    const float argument = static_cast<float>(x);
    const double expected = std::exp(static_cast<double>(argument));
    worst = std::max(worst, std::abs(ExpOfNegative(argument) / expected - 1.0));
  }
  EXPECT_LT(worst, 3e-7);
  EXPECT_EQ(ExpOfNegative(0.0f), 1.0f);
  for (const float x : {-87.4f, -1e30f, -kInfinity}) EXPECT_EQ(ExpOfNegative(x), 0.0f);
}

TEST(LogitScanTest, SumExpAgreesWithDoublesAtEveryTemperature) {
  for (const int n : {1, 5, 512, 513, 49152}) {
    const std::vector<float> logits = RandomLogits(n, n);
    const float largest = *std::max_element(logits.begin(), logits.end());
    for (const float temperature : {0.01f, 0.7f, 1.0f, 100.0f}) {
      double expected = 0.0;
      for (const float x : logits) expected += std::exp((double{x} - largest) / temperature);
      std::vector<double> block_sums;
      const double sum = SumExp(logits, largest, temperature, &block_sums);
      EXPECT_NEAR(sum / expected, 1.0, 2e-6) << n << " " << temperature;
      EXPECT_EQ(block_sums.size(), static_cast<size_t>((n + 511) / 512));
    }
  }
}

TEST(LogitScanTest, BlockMaximaCoverEveryLogit) {
  const std::vector<float> logits = RandomLogits(70, 1);
  std::vector<float> maxima;
  BlockMaxima(logits, &maxima);
  ASSERT_EQ(maxima.size(), 3u);
  EXPECT_EQ(maxima[0], *std::max_element(logits.begin(), logits.begin() + 32));
  EXPECT_EQ(maxima[1], *std::max_element(logits.begin() + 32, logits.begin() + 64));
  EXPECT_EQ(maxima[2], *std::max_element(logits.begin() + 64, logits.end()));
}

}  // namespace
}  // namespace skv::engine
