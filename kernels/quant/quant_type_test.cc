#include "kernels/quant/quant_type.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"
#include "kernels/quant/float_convert.h"

namespace skv::kernels {
namespace {

TEST(QuantTypeTest, KnowsExactlyTheListedTypes) {
  int num_known = 0;
  for (uint32_t type = 0; type < 1000; ++type) {
    if (!IsKnownQuantType(type)) {
      EXPECT_EQ(QuantTypeName(static_cast<QuantType>(type)), nullptr) << type;
      continue;
    }
    ++num_known;
    EXPECT_GT(BlockBytes(static_cast<QuantType>(type)), 0) << type;
  }
  EXPECT_EQ(num_known, 11);
  EXPECT_STREQ(QuantTypeName(QuantType::kQ4_K), "Q4_K");
  EXPECT_FALSE(IsKnownQuantType(0xFFFFFFFFu));
}

TEST(QuantTypeTest, HalfSurvivesTheRoundTripThroughFloat) {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const float value = HalfToFloat(static_cast<uint16_t>(half));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(HalfToFloat(FloatToHalf(value))));
    } else {
      ASSERT_EQ(FloatToHalf(value), half);
    }
  }
}

TEST(QuantTypeTest, NarrowingRoundsToNearestEven) {
  const float inf = std::numeric_limits<float>::infinity();
  const struct {
    const char* why;
    float value;
    uint16_t half;
    uint16_t bfloat16;
  } kCases[] = {{"one", 1.0f, 0x3C00, 0x3F80},
                {"tie of half goes to even", 1.0f + 0x1p-11f, 0x3C00, 0x3F80},
                {"above the tie of half goes up", 1.0f + 0x1p-11f + 0x1p-20f, 0x3C01, 0x3F80},
                {"odd tie of bfloat16 goes up", 1.0f + 0x1p-7f + 0x1p-8f, 0x3C0C, 0x3F82},
                {"largest half", 65504.0f, 0x7BFF, 0x4780},
                {"past the largest half", 65520.0f, 0x7C00, 0x4780},
                {"smallest half subnormal", -0x1p-24f, 0x8001, 0xB380},
                {"half of it is a tie and goes to zero", 0x1p-25f, 0x0000, 0x3300},
                {"infinity", -inf, 0xFC00, 0xFF80}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(FloatToHalf(c.value), c.half);
    EXPECT_EQ(FloatToBfloat16(c.value), c.bfloat16);
  }
}

}  // namespace
}  // namespace skv::kernels
