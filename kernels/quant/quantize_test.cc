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
  std::vector<std::byte> row(n / 32 * BlockBytes(QuantType::kQ8_0));
  std::vector<float> result(n);
  QuantizeRowQ8_0(values.data(), n, row.data());
  DequantizeRow(QuantType::kQ8_0, row.data(), n, result.data());
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
      float largest = 0;
      for (size_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j) {
        largest = std::max(largest, std::fabs(values[j]));
      }
      // Half a step of a scale that float16 rounded, which is coarse for the tiny ones.
      const float step = largest / 127 * 1.001f + 0x1p-24f;
      EXPECT_NEAR(result[i], values[i], step / 2 + (size < 1e-3f ? 127 * 0x1p-25f : 0)) << i;
    }
  }
}

TEST(QuantizeRowTest, MultiplesOfAScaleAreExact) {
  std::vector<float> values(32);
  for (int i = 0; i < 32; ++i) values[i] = static_cast<float>(4 * i - 3) * 0.25f;
  values[31] = -31.75f;  // 127 quarters
  EXPECT_EQ(RoundTrip(values), values);
}

TEST(QuantizeRowTest, ABlockIsZeroOrNanAsAWhole) {
  std::vector<float> values(96, 0.0f);
  values[40] = std::numeric_limits<float>::infinity();
  values[70] = 1e-30f;
  const std::vector<float> result = RoundTrip(values);
  for (int i = 0; i < 96; ++i) {
    EXPECT_EQ(std::isnan(result[i]), i / 32 == 1) << i;
    if (i / 32 != 1) EXPECT_EQ(result[i], 0.0f) << i;
  }
}

TEST(QuantizeRowTest, QuantsOfAnyScaleFit) {
  // float16 rounds the scale 1.4 * 2^-24 down to 2^-24, 178 times of which the value would be.
  for (float size = 0x1p-40f; size < 0x1p22f; size *= 1.4f) {
    const std::vector<float> result = RoundTrip(std::vector<float>(32, size));
    EXPECT_GE(result[5], 0.0f) << size;
    EXPECT_LE(result[5], size * 1.01f) << size;
  }
}

}  // namespace
}  // namespace skv::kernels
