#include "kernels/elementwise.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/arithmetic.h"
#include "kernels/cpu/elementwise_kernels.h"
#include "kernels/ref/elementwise_ref.h"

namespace skv::kernels {
namespace {

// Values of magnitude up to 8 that do not depend on the standard library's distributions.
std::vector<float> RandomFloats(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    value = static_cast<float>(static_cast<int32_t>(random())) * 0x1p-28f;
  }
  return values;
}

std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

// The four results of one instruction set for rows of `width` elements, one after the other.
std::vector<float> RunAll(const ElementwiseKernels& kernels, int width) {
  const std::vector<float> x = RandomFloats(width, 1), other = RandomFloats(width, 2);
  std::vector<float> norm(width), rope = x, silu = x, sum = x;
  kernels.rms_norm(x.data(), other.data(), width, 1e-5f, norm.data());
  if (width % 2 == 0) kernels.rope_head(rope.data(), width, other.data());
  kernels.silu_mul(silu.data(), other.data(), width);
  std::vector<double> totals(width);
  for (int i = 0; i < width; ++i) totals[i] = double{other[i]} * (1 + 0x1p-25);
  kernels.add_totals(sum.data(), totals.data(), width);
  std::vector<float> all = norm;
  for (const auto& part : {rope, silu, sum}) all.insert(all.end(), part.begin(), part.end());
  return all;
}

TEST(ElementwiseTest, EveryInstructionSetYieldsTheScalarBits) {
  for (const int width : {1, 2, 15, 16, 17, 31, 32, 33, 64, 576, 1535}) {
    const auto expected = Bits(RunAll(kElementwiseScalar, width));
    for (int level = 1; level <= static_cast<int>(BestIsa()); ++level) {
      const Isa isa = static_cast<Isa>(level);
      EXPECT_EQ(Bits(RunAll(ElementwiseKernelsFor(isa), width)), expected)
          << IsaName(isa) << ", width " << width;
    }
  }
}

TEST(ElementwiseTest, RmsNormIsCloseToTheReferenceInPlaceToo) {
  constexpr int kRows = 3, kHidden = 100, kStride = 104;
  std::vector<float> x = RandomFloats(kRows * kStride, 3), expected(x.size());
  const std::vector<float> weight = RandomFloats(kHidden, 4);
  RmsNormRef(x.data(), kStride, weight.data(), kRows, kHidden, 1e-5f, expected.data(), kStride);
  RmsNorm(x.data(), kStride, weight.data(), kRows, kHidden, 1e-5f, x.data(), kStride);
  for (int t = 0; t < kRows; ++t) {
    for (int i = 0; i < kHidden; ++i) {
      const float want = expected[t * kStride + i];
      EXPECT_NEAR(x[t * kStride + i], want, 1e-6 * std::fabs(want));
    }
  }
}

TEST(ElementwiseTest, RopeIsCloseToTheReferenceFarIntoTheContext) {
  constexpr int kHeads = 3, kHeadDim = 64, kRows = 4, kStride = kHeads * kHeadDim + 8;
  std::vector<float> inv_freq(kHeadDim / 2);
  for (int i = 0; i < kHeadDim / 2; ++i) inv_freq[i] = std::pow(1e5f, -2.0f * i / kHeadDim);
  const int32_t positions[kRows] = {0, 1, 500, 8191};
  std::vector<float> table(8192 * kHeadDim);
  MakeRopeTable(inv_freq.data(), kHeadDim, 8192, table.data());
  std::vector<float> x = RandomFloats(kRows * kStride, 5), expected = x;
  RopeRef(expected.data(), kStride, kRows, kHeads, kHeadDim, inv_freq.data(), positions);
  Rope(x.data(), kStride, kRows, kHeads, kHeadDim, table.data(), positions);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], expected[i], 2e-6) << i;
}

TEST(ElementwiseTest, SiluMulIsCloseToTheReferenceOverTheWholeRange) {
  std::vector<float> gate, expected;
  for (float x = -120; x < 120; x += 0.0371f) gate.push_back(x);
  expected = gate;
  const int width = static_cast<int>(gate.size());
  const std::vector<float> up(width, 2.0f);
  SiluMulRef(expected.data(), width, up.data(), width, 1, width);
  SiluMul(gate.data(), width, up.data(), width, 1, width);
  for (int i = 0; i < width; ++i) {
    // Below e^-87 the exponential is taken as 0.
    EXPECT_NEAR(gate[i], expected[i], 4e-7 * std::fabs(expected[i]) + 1e-35) << i;
  }
}

TEST(ElementwiseTest, InfinitiesAndNansPassThrough) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  std::vector<float> gate = {kInf, std::nanf(""), 3.4e38f, -3.4e38f};
  const std::vector<float> up(4, 1.0f);
  SiluMul(gate.data(), 4, up.data(), 4, 1, 4);
  EXPECT_EQ(gate[0], kInf);
  EXPECT_TRUE(std::isnan(gate[1]));
  EXPECT_EQ(gate[2], 3.4e38f);
  EXPECT_EQ(gate[3], 0.0f);
}

// A change here is a change of arithmetic: raise kArithmeticRevision and say why in the commit.
TEST(ElementwiseGoldenTest, BitsAreThoseOfTheArithmeticRevision) {
  ASSERT_EQ(kArithmeticRevision, 3) << "new revision: put the new hash here";
  const std::vector<float> all = RunAll(ElementwiseKernelsFor(ActiveIsa()), 1000);
  EXPECT_EQ(XXH64(all.data(), all.size() * sizeof(float), 0), 0x1529aeeaf0d36b67u)
      << IsaName(ActiveIsa());
}

}  // namespace
}  // namespace skv::kernels
