#include "kernels/matmul.h"

#include <gtest/gtest.h>
#include <xxhash.h>

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

// The whole product by one instruction set, with its own packing of the activations.
std::vector<float> Multiply(Isa isa, const PackedMatrix& w, const float* x, int num_rows) {
  const MatMulKernels& kernels = MatMulKernelsFor(isa);
  AlignedBytes activations(PackedActivationBytes(w.type, num_rows, w.num_inputs));
  if (IsFloatType(w.type)) {
    PackActivations(w.type, x, w.num_inputs, num_rows, w.num_inputs, 0, num_rows,
                    activations.data());
  } else {
    for (int t = 0; t < num_rows; ++t) {
      kernels.pack_row(x + size_t(t) * w.num_inputs, w.num_inputs, FormatOf(w.type).block_elements,
                       activations.data() + t * ActivationStride(w.type, w.num_inputs));
    }
  }
  std::vector<float> y(size_t(num_rows) * w.num_outputs, -1.0f);
  kernels.matmul({&w, activations.data(), 0, num_rows, 0, w.num_outputs, y.data(), w.num_outputs});
  return y;
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

// Numbers that do not depend on the standard library's distributions.
float GoldenFloat(std::mt19937* random) {
  return static_cast<float>(static_cast<int32_t>((*random)())) * 0x1p-31f;
}

// A change here is a change of arithmetic: raise kArithmeticRevision and say why in the commit.
TEST(MatMulGoldenTest, BitsAreThoseOfTheArithmeticRevision) {
  const struct {
    QuantType type;
    uint64_t hash;
  } kGoldens[] = {{QuantType::kF32, 0x43815e6d146c8cd8u},  {QuantType::kF16, 0x26b00f95d247dca1u},
                  {QuantType::kBF16, 0x731417f9e65c01c8u}, {QuantType::kQ4_0, 0xfad65fd769706c59u},
                  {QuantType::kQ4_1, 0x3322ec5520bd9ef3u}, {QuantType::kQ5_0, 0xeb656b362eb7bbbcu},
                  {QuantType::kQ5_1, 0x8579657ca365ef52u}, {QuantType::kQ8_0, 0x2a5015378212607au},
                  {QuantType::kQ4_K, 0x024bb9102011b95eu}, {QuantType::kQ5_K, 0x0eec556c8bbd71f3u},
                  {QuantType::kQ6_K, 0x6c1454e83e48a935u}};
  ASSERT_EQ(kArithmeticRevision, 2) << "new revision: put the new hashes here";
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
  }
}

INSTANTIATE_TEST_SUITE_P(AllTypes, MatMulTest, testing::ValuesIn(kAllTypes),
                         [](const auto& info) { return std::string(QuantTypeName(info.param)); });

}  // namespace
}  // namespace skv::kernels
