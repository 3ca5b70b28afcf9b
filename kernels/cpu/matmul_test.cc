#include "kernels/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

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

// Random rows in the file's format with weights of magnitude around one.
std::vector<std::byte> RandomRows(QuantType type, int num_outputs, int num_inputs,
                                  std::mt19937* random) {
  const int num_blocks = num_outputs * (num_inputs / BlockElements(type));
  std::vector<std::byte> rows(size_t(num_blocks) * BlockBytes(type));
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  for (int i = 0; i < num_blocks; ++i) {
    std::byte* block = rows.data() + size_t(i) * BlockBytes(type);
    if (IsFloatType(type)) {
      const float value = uniform(*random);
      const uint16_t narrow = type == QuantType::kF16 ? FloatToHalf(value) : FloatToBfloat16(value);
      if (type == QuantType::kF32) {
        std::memcpy(block, &value, 4);
      } else {
        std::memcpy(block, &narrow, 2);
      }
      continue;
    }
    for (int b = 0; b < BlockBytes(type); ++b) block[b] = static_cast<std::byte>((*random)());
    for (const int offset : HalfOffsets(type)) {
      const uint16_t half = FloatToHalf(uniform(*random) / 16);
      std::memcpy(block + offset, &half, 2);
    }
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
      : rows(RandomRows(type, num_outputs, num_inputs, random)),
        packed(PackedMatrixBytes(type, num_outputs, num_inputs)) {
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

INSTANTIATE_TEST_SUITE_P(AllTypes, MatMulTest, testing::ValuesIn(kAllTypes),
                         [](const auto& info) { return std::string(QuantTypeName(info.param)); });

}  // namespace
}  // namespace skv::kernels
