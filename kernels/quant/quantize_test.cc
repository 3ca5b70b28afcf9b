#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/quant/quant_type.h"

namespace skv::kernels {
namespace {

std::vector<float> RoundTrip(const std::vector<float>& values) {
  const auto n = static_cast<int64_t>(values.size());
  std::vector<std::byte> row(n / 32 * BlockBytes(QuantType::kQ4_1));
  std::vector<float> result(n);
  QuantizeRowQ4_1(values.data(), n, row.data());
  DequantizeRow(QuantType::kQ4_1, row.data(), n, result.data());
  return result;
}

TEST(QuantizeRowTest, ValuesComeBackWithinHalfAStep) {
  std::mt19937 random(1);
  for (const float size : {1e-5f, 1.0f, 300.0f}) {
    std::vector<float> values(96);
    for (float& x : values)
      x = size * static_cast<float>(static_cast<int32_t>(random())) * 0x1p-31f;
    const std::vector<float> result = RoundTrip(values);
    for (size_t i = 0; i < values.size(); ++i) {
      const auto block = values.begin() + static_cast<ptrdiff_t>(i / 32 * 32);
      const auto [low, high] = std::minmax_element(block, block + 32);
      // Half a step, and what float16 rounds: the minimum, and of tiny blocks the steps too.
      const float step = (*high - *low) / 15;
      const float rounding = std::fabs(*low) * 0x1p-11f + 0x1p-24f;
      EXPECT_NEAR(result[i], values[i], step / 2 * 1.01f + rounding + 15 * 0x1p-25f) << i;
    }
  }
}

TEST(QuantizeRowTest, MultiplesOfAStepAreExact) {
  std::vector<float> values(32);
  for (int i = 0; i < 32; ++i) values[i] = static_cast<float>(i * 7 % 16) * 0.25f - 3.0f;
  EXPECT_EQ(RoundTrip(values), values);
}

TEST(QuantizeRowTest, ABlockIsZeroOrNanAsAWhole) {
  std::vector<float> values(96, 0.0f);
  values[40] = std::numeric_limits<float>::infinity();
  values[70] = 1e-30f;
  const std::vector<float> result = RoundTrip(values);
  for (int i = 0; i < 96; ++i) {
    EXPECT_EQ(std::isnan(result[i]), i / 32 == 1) << i;
    if (i / 32 != 1) {
      EXPECT_NEAR(result[i], 0.0f, 1e-7f) << i;
    }
  }
}

TEST(QuantizeRowTest, QuantsOfAnyScaleFit) {
  // float16 rounds steps of 1.4 * 2^-24 down to 2^-24, 21 of which the value would be.
  for (float size = 0x1p-40f; size < 0x1p15f; size *= 1.4f) {
    for (const float low : {0.0f, -size, size}) {
      std::vector<float> values(32, low);
      values[5] = size;
      const std::vector<float> result = RoundTrip(values);
      const float slack = size * 0.01f + 16 * 0x1p-24f;
      EXPECT_GE(result[5], std::min(low, size) - slack) << size;
      EXPECT_LE(result[5], size + slack) << size;
    }
  }
}

TEST(QuantizeRowTest, WhatFloat16DoesNotHoldIsCut) {
  std::vector<float> values(32, -1e30f);
  values[3] = 1e30f;
  for (const float x : RoundTrip(values)) EXPECT_TRUE(std::isfinite(x));
}

}  // namespace
}  // namespace skv::kernels
