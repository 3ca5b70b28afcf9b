#include "kernels/matmul.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/arithmetic.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/packed_format.h"
#include "kernels/quant/float_convert.h"
#include "kernels/ref/matmul_ref.h"

namespace skv::kernels {
namespace {

constexpr QuantType kAllTypes[] = {QuantType::kF32,  QuantType::kF16,  QuantType::kBF16,
                                   QuantType::kQ4_0, QuantType::kQ4_1, QuantType::kQ5_0,
                                   QuantType::kQ5_1, QuantType::kQ8_0, QuantType::kQ4_K,
                                   QuantType::kQ5_K, QuantType::kQ6_K};
constexpr int kNumFloatTypes = 3;  // the first ones

// Byte offsets of the float16 numbers of one block: random bytes there could be inf or NaN.
std::vector<int> HalfOffsets(QuantType type) {
  switch (type) {
    case QuantType::kQ4_0:
    case QuantType::kQ5_0:
    case QuantType::kQ8_0:
      return {0};
    case QuantType::kQ6_K:
      return {208};
    default:
      return {0, 2};
  }
}

// Makes the float numbers of a block of random bytes plain ones of the size of `value`.
void SetPlainNumbers(QuantType type, float value, std::byte* block) {
  if (type == QuantType::kF32) {
    std::memcpy(block, &value, 4);
  } else if (IsFloatType(type)) {
    const uint16_t narrow = type == QuantType::kF16 ? FloatToHalf(value) : FloatToBfloat16(value);
    std::memcpy(block, &narrow, 2);
  } else {
    for (const int offset : HalfOffsets(type)) {
      const uint16_t half = FloatToHalf(offset == 2 ? value / -8 : value / 16);
      std::memcpy(block + offset, &half, 2);
    }
  }
}

// Random rows in the file's format with weights of magnitude around one.
std::vector<std::byte> RandomRows(QuantType type, int num_outputs, int num_inputs,
                                  std::mt19937* random) {
  const size_t num_blocks = size_t(num_outputs) * (num_inputs / BlockElements(type));
  std::vector<std::byte> rows(num_blocks * BlockBytes(type));
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  for (std::byte& b : rows) b = static_cast<std::byte>((*random)());
  for (size_t i = 0; i < rows.size(); i += BlockBytes(type)) {
    SetPlainNumbers(type, uniform(*random), rows.data() + i);
  }
  return rows;
}

std::vector<float> RandomFloats(size_t count, std::mt19937* random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(*random);
  return values;
}

// 64-byte aligned bytes.
class AlignedBytes {
 public:
  explicit AlignedBytes(size_t size) : storage_(size + 64) {}
  std::byte* data() {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    return storage_.data() + (64 - address % 64) % 64;
  }

 private:
  std::vector<std::byte> storage_;
};

// A packed matrix with its file rows.
struct Matrix {
  Matrix(QuantType type, int num_outputs, int num_inputs, std::mt19937* random)
      : Matrix(type, num_outputs, num_inputs, RandomRows(type, num_outputs, num_inputs, random)) {}

  Matrix(QuantType type, int num_outputs, int num_inputs, std::vector<std::byte> file_rows)
      : rows(std::move(file_rows)), packed(PackedMatrixBytes(type, num_outputs, num_inputs)) {
    row_bytes = num_inputs / BlockElements(type) * BlockBytes(type);
    PackMatrix(type, rows.data(), row_bytes, num_outputs, num_inputs, 0, num_outputs,
               packed.data());
    view = {type, num_outputs, num_inputs, packed.data()};
  }

  std::vector<float> Dequantized() const {
    std::vector<float> w(size_t(view.num_outputs) * view.num_inputs);
    for (int n = 0; n < view.num_outputs; ++n) {
      DequantizeRow(view.type, rows.data() + n * row_bytes, view.num_inputs,
                    w.data() + size_t(n) * view.num_inputs);
    }
    return w;
  }

  std::vector<std::byte> rows;
  AlignedBytes packed;
  int64_t row_bytes;
  PackedMatrix view;
};

// Rows packed by one instruction set, for its products alone.
AlignedBytes Pack(Isa isa, const PackedMatrix& w, const float* x, int64_t x_stride, int num_rows) {
  AlignedBytes activations(PackedActivationBytes(w.type, num_rows, w.num_inputs));
  if (IsFloatType(w.type)) {
    PackActivations(w.type, x, x_stride, num_rows, w.num_inputs, 0, num_rows, activations.data());
    return activations;
  }
  for (int t = 0; t < num_rows; ++t) {
    MatMulKernelsFor(isa).pack_row(x + t * x_stride, w.num_inputs, FormatOf(w.type).block_elements,
                                   activations.data() + t * ActivationStride(w.type, w.num_inputs));
  }
  return activations;
}

// The whole product by one instruction set.
std::vector<float> Multiply(Isa isa, const PackedMatrix& w, const float* x, int num_rows) {
  AlignedBytes activations = Pack(isa, w, x, w.num_inputs, num_rows);
  std::vector<float> y(size_t(num_rows) * w.num_outputs, -1.0f);
  MatMulKernelsFor(isa).matmul(
      {&w, activations.data(), 0, num_rows, 0, w.num_outputs, y.data(), w.num_outputs});
  return y;
}

// MatMulTotals by one instruction set.
std::vector<double> MultiplyTotals(Isa isa, const PackedMatrix& w, int segment_inputs,
                                   const float* x, int64_t x_stride, int num_rows) {
  AlignedBytes activations = Pack(isa, w, x, x_stride, num_rows);
  std::vector<double> totals(size_t(num_rows) * w.num_outputs, -1.0);
  MatMulKernelsFor(isa).matmul({&w, activations.data(), 0, num_rows, 0, w.num_outputs, nullptr,
                                w.num_outputs, totals.data(), segment_inputs});
  return totals;
}

std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    // Every NaN counts as the same: its sign and payload are not part of the contract.
    const float value = std::isnan(values[i]) ? std::numeric_limits<float>::quiet_NaN() : values[i];
    std::memcpy(&bits[i], &value, sizeof(value));
  }
  return bits;
}

std::vector<Isa> VectorIsas() {
  std::vector<Isa> isas;
  for (int level = 1; level <= static_cast<int>(BestIsa()); ++level) {
    isas.push_back(static_cast<Isa>(level));
  }
  return isas;
}

class MatMulTest : public testing::TestWithParam<QuantType> {
 protected:
  // A length that has more than one group, small for the short formats.
  int NumInputs() const { return BlockElements(GetParam()) == 256 ? 512 : 96; }
  std::mt19937 random_{20240613};
};

TEST_P(MatMulTest, UnpackRowGivesTheValuesOfTheFile) {
  const Matrix matrix(GetParam(), 37, NumInputs(), &random_);
  const std::vector<float> expected = matrix.Dequantized();
  std::vector<float> row(NumInputs());
  for (int n = 0; n < 37; ++n) {
    UnpackRow(matrix.view, n, row.data());
    for (int k = 0; k < NumInputs(); ++k) ASSERT_EQ(row[k], expected[n * NumInputs() + k]);
  }
}

TEST_P(MatMulTest, EveryInstructionSetYieldsTheScalarBits) {
  for (const int num_outputs : {1, 15, 16, 17, 33, 80}) {
    const Matrix matrix(GetParam(), num_outputs, NumInputs(), &random_);
    for (const int num_rows : {1, 2, 3, 5, 6, 7, 16, 23}) {
      SCOPED_TRACE(std::to_string(num_outputs) + " outputs, " + std::to_string(num_rows) + " rows");
      const std::vector<float> x = RandomFloats(size_t(num_rows) * NumInputs(), &random_);
      const auto expected = Bits(Multiply(Isa::kScalar, matrix.view, x.data(), num_rows));
      for (const Isa isa : VectorIsas()) {
        ASSERT_EQ(Bits(Multiply(isa, matrix.view, x.data(), num_rows)), expected) << IsaName(isa);
      }
    }
  }
}

// Each activation is off by at most half a step of its block, amax / 65024, and the chain of float
// operations adds rounding errors that are small beside that.
TEST_P(MatMulTest, StaysWithinTheQuantisationErrorOfTheReference) {
  constexpr int kOutputs = 48, kRows = 7;
  const int num_inputs = NumInputs();
  const Matrix matrix(GetParam(), kOutputs, num_inputs, &random_);
  const std::vector<float> w = matrix.Dequantized();
  const std::vector<float> x = RandomFloats(size_t(kRows) * num_inputs, &random_);
  std::vector<float> expected(kRows * kOutputs);
  MatMulRef(w.data(), kOutputs, num_inputs, x.data(), num_inputs, kRows, expected.data(), kOutputs);
  const std::vector<float> y = Multiply(ActiveIsa(), matrix.view, x.data(), kRows);
  for (int t = 0; t < kRows; ++t) {
    for (int n = 0; n < kOutputs; ++n) {
      double sum_of_weights = 0, sum_of_products = 0;
      float amax = 0;
      for (int k = 0; k < num_inputs; ++k) {
        sum_of_weights += std::fabs(w[n * num_inputs + k]);
        sum_of_products += std::fabs(w[n * num_inputs + k] * x[t * num_inputs + k]);
        amax = std::max(amax, std::fabs(x[t * num_inputs + k]));
      }
      const double quantisation = IsFloatType(GetParam()) ? 0 : amax / 65024 * sum_of_weights;
      ASSERT_NEAR(y[t * kOutputs + n], expected[t * kOutputs + n],
                  quantisation + 1e-5 * sum_of_products)
          << "row " << t << " output " << n;
    }
  }
}

// MatMul and PackActivations as callers use them, in the active instruction set.
class Product {
 public:
  Product(const PackedMatrix& w, const float* x, int64_t x_stride, int num_rows)
      : w_(w),
        activations_(PackedActivationBytes(w.type, num_rows, w.num_inputs)),
        num_rows_(num_rows) {
    PackActivations(w.type, x, x_stride, num_rows, w.num_inputs, 0, num_rows, activations_.data());
  }

  void Run(int row_begin, int row_end, int output_begin, int output_end, float* y,
           int64_t y_stride) {
    MatMul(w_, activations_.data(), num_rows_, row_begin, row_end, output_begin, output_end, y,
           y_stride);
  }

 private:
  PackedMatrix w_;
  AlignedBytes activations_;
  int num_rows_;
};

TEST_P(MatMulTest, ARowHasTheSameBitsInEveryNumberOfRows) {
  constexpr int kOutputs = 40, kMaxRows = 40;
  const int num_inputs = NumInputs();
  const Matrix matrix(GetParam(), kOutputs, num_inputs, &random_);
  const std::vector<float> x = RandomFloats(size_t{kMaxRows} * num_inputs, &random_);
  std::vector<float> alone(kMaxRows * kOutputs);
  for (int t = 0; t < kMaxRows; ++t) {
    Product(matrix.view, x.data() + t * num_inputs, num_inputs, 1)
        .Run(0, 1, 0, kOutputs, alone.data() + t * kOutputs, kOutputs);
  }
  for (int num_rows = 1; num_rows <= kMaxRows; ++num_rows) {
    std::vector<float> y(num_rows * kOutputs);
    Product(matrix.view, x.data(), num_inputs, num_rows)
        .Run(0, num_rows, 0, kOutputs, y.data(), kOutputs);
    for (int i = 0; i < num_rows * kOutputs; ++i) {
      ASSERT_EQ(y[i], alone[i]) << num_rows << " rows, row " << i / kOutputs;
    }
  }
}

TEST_P(MatMulTest, PartsOfRowsAndOutputsMakeUpTheWholeAndWriteNothingElse) {
  constexpr int kOutputs = 56, kRows = 11, kStride = kOutputs + 5;
  constexpr float kUntouched = 12345.0f;
  const int num_inputs = NumInputs(), x_stride = num_inputs + 3;
  const Matrix matrix(GetParam(), kOutputs, num_inputs, &random_);
  const std::vector<float> x = RandomFloats(size_t{kRows} * x_stride, &random_);
  Product product(matrix.view, x.data(), x_stride, kRows);
  std::vector<float> whole(kRows * kStride, kUntouched), parts = whole;
  product.Run(0, kRows, 0, kOutputs, whole.data(), kStride);
  const int row_cuts[] = {0, 1, 9, kRows}, output_cuts[] = {0, 16, 48, kOutputs};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      product.Run(row_cuts[i], row_cuts[i + 1], output_cuts[j], output_cuts[j + 1], parts.data(),
                  kStride);
    }
  }
  EXPECT_EQ(parts, whole);
  for (int t = 0; t < kRows; ++t) {
    for (int n = kOutputs; n < kStride; ++n) EXPECT_EQ(whole[t * kStride + n], kUntouched);
  }
}

TEST_P(MatMulTest, PackingInPartsGivesTheSameMatrix) {
  constexpr int kOutputs = 72;
  const Matrix matrix(GetParam(), kOutputs, NumInputs(), &random_);
  const size_t bytes = PackedMatrixBytes(GetParam(), kOutputs, NumInputs());
  AlignedBytes parts(bytes);
  for (const auto& [begin, end] : {std::pair(0, 32), std::pair(32, 48), std::pair(48, kOutputs)}) {
    PackMatrix(GetParam(), matrix.rows.data() + begin * matrix.row_bytes, matrix.row_bytes,
               kOutputs, NumInputs(), begin, end, parts.data());
  }
  EXPECT_EQ(std::memcmp(parts.data(), matrix.view.data, bytes), 0);
}

// Float types are packed in panels only.
class MatMulBlockTest : public MatMulTest {};

TEST_P(MatMulBlockTest, PackingOutputsOneByOneGivesTheSameMatrix) {
  constexpr int kOutputs = 20;
  const Matrix matrix(GetParam(), kOutputs, NumInputs(), &random_);
  const size_t bytes = PackedMatrixBytes(GetParam(), kOutputs, NumInputs());
  AlignedBytes one_by_one(bytes);
  for (int output = kOutputs - 1; output >= 0; --output) {
    PackOutput(GetParam(), matrix.rows.data() + output * matrix.row_bytes, NumInputs(), output,
               one_by_one.data());
  }
  EXPECT_EQ(std::memcmp(one_by_one.data(), matrix.view.data, bytes), 0);
}

TEST_P(MatMulTest, ExtremeActivationsGiveEqualBitsOnEveryPath) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const float kValues[] = {
      0.0f,   -0.0f,   1e-45f, 1e-38f, 1e-31f,
      1e-29f, 3.4e38f, kInf,   -kInf,  std::numeric_limits<float>::quiet_NaN()};
  const Matrix matrix(GetParam(), 16, NumInputs(), &random_);
  for (const float value : kValues) {
    SCOPED_TRACE(value);
    std::vector<float> one = RandomFloats(NumInputs(), &random_);
    one[NumInputs() - 5] = value;
    const std::vector<float> all(NumInputs(), value);
    for (const std::vector<float>& x : {one, all}) {
      const std::vector<float> scalar = Multiply(Isa::kScalar, matrix.view, x.data(), 1);
      for (const Isa isa : VectorIsas()) {
        EXPECT_EQ(Bits(Multiply(isa, matrix.view, x.data(), 1)), Bits(scalar)) << IsaName(isa);
      }
      for (const float y : scalar) {
        if (!std::isfinite(value)) {
          EXPECT_FALSE(std::isfinite(y));
        } else if (value == 0 && x == all) {
          EXPECT_EQ(y, 0);
        }
      }
    }
  }
}

// A matrix of four segments, the last one short where the type allows it.
class MatMulTotalsTest : public MatMulTest {
 protected:
  static constexpr int kOutputs = 40, kRows = 23;
  MatMulTotalsTest()
      : segment_(BlockElements(GetParam()) == 256 ? 256 : 64),
        num_inputs_(BlockElements(GetParam()) == 256 ? 1024 : 224),
        matrix_(GetParam(), kOutputs, num_inputs_, &random_),
        x_(RandomFloats(size_t{kRows} * num_inputs_, &random_)) {}

  // Inputs [begin, end) as a matrix of their own.
  Matrix Cut(int begin, int end) const {
    const int block = BlockElements(GetParam()), bytes = BlockBytes(GetParam());
    std::vector<std::byte> rows;
    for (int n = 0; n < kOutputs; ++n) {
      const std::byte* row = matrix_.rows.data() + n * matrix_.row_bytes;
      rows.insert(rows.end(), row + begin / block * bytes, row + end / block * bytes);
    }
    return Matrix(GetParam(), kOutputs, end - begin, std::move(rows));
  }

  std::vector<double> Totals(Isa isa) const {
    return MultiplyTotals(isa, matrix_.view, segment_, x_.data(), num_inputs_, kRows);
  }

  const int segment_, num_inputs_;
  const Matrix matrix_;
  std::vector<float> x_;
};

TEST_P(MatMulTotalsTest, PiecesCutBetweenSegmentsAddUpToTheSameBitsInAnyOrder) {
  const std::vector<double> whole = Totals(Isa::kScalar);
  const int s = segment_;
  const std::vector<std::vector<int>> kCuts = {
      {0, s, num_inputs_}, {0, 3 * s, num_inputs_}, {0, s, 2 * s, 3 * s, num_inputs_}};
  for (const std::vector<int>& cuts : kCuts) {
    std::vector<std::vector<double>> pieces;
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      const Matrix piece = Cut(cuts[i], cuts[i + 1]);
      pieces.push_back(MultiplyTotals(ActiveIsa(), piece.view, segment_, x_.data() + cuts[i],
                                      num_inputs_, kRows));
    }
    for (const bool reversed : {false, true}) {
      if (reversed) std::reverse(pieces.begin(), pieces.end());
      for (size_t i = 0; i < whole.size(); ++i) {
        double total = 0;
        for (const std::vector<double>& piece : pieces) total += piece[i];
        ASSERT_EQ(total, whole[i]) << pieces.size() << " pieces, element " << i;
      }
    }
  }
}

TEST_P(MatMulTotalsTest, EveryInstructionSetAndNumberOfRowsYieldsTheScalarBits) {
  const std::vector<double> want = Totals(Isa::kScalar);
  for (const Isa isa : VectorIsas()) {
    EXPECT_EQ(Totals(isa), want) << IsaName(isa);
    for (const int row : {0, kRows - 1}) {
      const std::vector<double> alone = MultiplyTotals(
          isa, matrix_.view, segment_, x_.data() + row * num_inputs_, num_inputs_, 1);
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), want.begin() + row * kOutputs))
          << IsaName(isa) << ", row " << row;
    }
  }
}

TEST_P(MatMulTotalsTest, ATotalIsTheSumOfItsSegmentsProductsRoundedToTheGrid) {
  std::vector<double> want(kRows * kOutputs);
  for (int begin = 0; begin < num_inputs_; begin += segment_) {
    const Matrix piece = Cut(begin, std::min(begin + segment_, num_inputs_));
    std::vector<float> x;
    for (int t = 0; t < kRows; ++t) {
      const float* row = x_.data() + t * num_inputs_ + begin;
      x.insert(x.end(), row, row + piece.view.num_inputs);
    }
    const std::vector<float> sums = Multiply(Isa::kScalar, piece.view, x.data(), kRows);
    for (size_t i = 0; i < want.size(); ++i) want[i] += std::round(sums[i] * 0x1p34) * 0x1p-34;
  }
  EXPECT_EQ(Totals(ActiveIsa()), want);
}

TEST_P(MatMulTotalsTest, InfinitiesAndNansOfAnySegmentReachTheTotal) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    for (const int k : {0, segment_, num_inputs_ - 1}) {
      std::vector<float> kept = x_;
      x_[k] = bad;
      const std::vector<double> totals = Totals(ActiveIsa());
      x_ = std::move(kept);
      for (int n = 0; n < kOutputs; ++n) EXPECT_FALSE(std::isfinite(totals[n])) << k;
      EXPECT_TRUE(std::isfinite(totals[kOutputs])) << "the next row";
    }
  }
}

// Float weights of 1 and 0 make each sum an activation: halfway cases, signs, the smallest and the
// largest numbers whose totals are exact.
TEST(SegmentSumsTest, RoundsToTheNearestMultipleAndHalvesAwayFromZero) {
  const float kStep = 0x1p-34f;
  const float kSums[] = {0.0f,
                         kStep / 2,
                         -kStep / 2,
                         1.5f * kStep,
                         -2.5f * kStep,
                         0.49f * kStep,
                         -0.51f * kStep,
                         0x1.fffffep-36f,
                         0x1.000002p-35f,
                         1.0f + 0x1p-23f,
                         0x1.fffffep-12f,
                         -0x1.fffffep-13f,
                         100'000.0f,
                         -131'000.992f,
                         0x1.fffffep16f,
                         -0x1.fffffep16f,
                         1e-30f,
                         -1e-44f};
  const std::vector<float> ones(16, 1.0f);
  Matrix matrix(QuantType::kF32, 16, 1, [&] {
    std::vector<std::byte> rows(16 * sizeof(float));
    std::memcpy(rows.data(), ones.data(), rows.size());
    return rows;
  }());
  for (const float sum : kSums) {
    for (int level = 0; level <= static_cast<int>(BestIsa()); ++level) {
      const Isa isa = static_cast<Isa>(level);
      EXPECT_EQ(MultiplyTotals(isa, matrix.view, 1, &sum, 1, 1)[0],
                std::round(double{sum} * 0x1p34) * 0x1p-34)
          << sum << " on " << IsaName(isa);
    }
  }
}

// Numbers that do not depend on the standard library's distributions.
float GoldenFloat(std::mt19937* random) {
  return static_cast<float>(static_cast<int32_t>((*random)())) * 0x1p-31f;
}

// A change here is a change of arithmetic: raise kArithmeticRevision and say why in the commit.
TEST(MatMulGoldenTest, BitsAreThoseOfTheArithmeticRevision) {
  const struct {
    QuantType type;
    uint64_t hash, totals_hash;
  } kGoldens[] = {{QuantType::kF32, 0x43815e6d146c8cd8u, 0x88ec456f6c0fee4bu},
                  {QuantType::kF16, 0x26b00f95d247dca1u, 0xfd57a7f9b98efadbu},
                  {QuantType::kBF16, 0x731417f9e65c01c8u, 0x6ec912b951f8733au},
                  {QuantType::kQ4_0, 0xfad65fd769706c59u, 0x87c76d398543ae30u},
                  {QuantType::kQ4_1, 0x3322ec5520bd9ef3u, 0x3f78554fcc965297u},
                  {QuantType::kQ5_0, 0xeb656b362eb7bbbcu, 0xf3107f6cda1c0d6fu},
                  {QuantType::kQ5_1, 0x8579657ca365ef52u, 0x552229c09f9d0fd5u},
                  {QuantType::kQ8_0, 0x2a5015378212607au, 0x59adcdca1402006du},
                  {QuantType::kQ4_K, 0x024bb9102011b95eu, 0x51fec17d1b05f8dbu},
                  {QuantType::kQ5_K, 0x0eec556c8bbd71f3u, 0x4e76104bc5fa285cu},
                  {QuantType::kQ6_K, 0x6c1454e83e48a935u, 0xf88b0dc613e8f7f7u}};
  ASSERT_EQ(kArithmeticRevision, 3) << "new revision: put the new hashes here";
  for (const auto& golden : kGoldens) {
    std::mt19937 random(99);
    std::vector<std::byte> rows(40 * 512 / BlockElements(golden.type) * BlockBytes(golden.type));
    for (std::byte& b : rows) b = static_cast<std::byte>(random());
    for (size_t i = 0; i < rows.size(); i += BlockBytes(golden.type)) {
      SetPlainNumbers(golden.type, GoldenFloat(&random), rows.data() + i);
    }
    const Matrix matrix(golden.type, 40, 512, std::move(rows));
    std::vector<float> x(9 * 512), y(9 * 40);
    for (float& value : x) value = GoldenFloat(&random);
    Product(matrix.view, x.data(), 512, 9).Run(0, 9, 0, 40, y.data(), 40);
    EXPECT_EQ(XXH64(y.data(), y.size() * sizeof(float), 0), golden.hash)
        << QuantTypeName(golden.type) << " on " << IsaName(ActiveIsa());
    const std::vector<double> totals =
        MultiplyTotals(ActiveIsa(), matrix.view, 256, x.data(), 512, 9);
    EXPECT_EQ(XXH64(totals.data(), totals.size() * sizeof(double), 0), golden.totals_hash)
        << "totals of " << QuantTypeName(golden.type) << " on " << IsaName(ActiveIsa());
  }
}

INSTANTIATE_TEST_SUITE_P(AllTypes, MatMulTotalsTest, testing::ValuesIn(kAllTypes),
                         [](const auto& info) { return std::string(QuantTypeName(info.param)); });
INSTANTIATE_TEST_SUITE_P(AllTypes, MatMulTest, testing::ValuesIn(kAllTypes),
                         [](const auto& info) { return std::string(QuantTypeName(info.param)); });
INSTANTIATE_TEST_SUITE_P(BlockTypes, MatMulBlockTest,
                         testing::ValuesIn(kAllTypes + kNumFloatTypes, std::end(kAllTypes)),
                         [](const auto& info) { return std::string(QuantTypeName(info.param)); });

}  // namespace
}  // namespace skv::kernels
