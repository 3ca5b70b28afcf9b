#include "common/philox.h"

#include "gtest/gtest.h"

namespace skv {
namespace {

// The vectors published with the authors' library Random123 (kat_vectors, philox4x32 10).
TEST(PhiloxTest, AnswersThePublishedVectors) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(PhiloxTest, UniformIsAFunctionOfAllBitsOfSeedPositionAndStream) {
  const double base = UniformAt(1, 1);
  EXPECT_EQ(base, UniformAt(1, 1));
  EXPECT_NE(base, UniformAt(1 + (uint64_t{1} << 32), 1));
  EXPECT_NE(base, UniformAt(2, 1));
  EXPECT_NE(base, UniformAt(1, 2));
  EXPECT_NE(base, UniformAt(1, 1 + (int64_t{1} << 32)));
  EXPECT_NE(base, UniformAt(1, 1, 1));
}

TEST(PhiloxTest, UniformStaysBelowOneWithTheExpectedMeanAndVariance) {
  constexpr int kDraws = 100000;
  double sum = 0.0, sum_of_squares = 0.0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = UniformAt(7, i);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    sum_of_squares += u * u;
  }
  EXPECT_NEAR(sum / kDraws, 1.0 / 2, 0.004);             // 4 sigma = 4 * 0.289 / sqrt(1e5)
  EXPECT_NEAR(sum_of_squares / kDraws, 1.0 / 3, 0.004);  // 4 sigma = 4 * 0.298 / sqrt(1e5)
}

}  // namespace
}  // namespace skv
