#include "kernels/ref/matmul_ref.h"

#include <algorithm>
#include <vector>

// The same source for each instruction set: multiplication and addition round apart (no
// contraction), so the bits do not depend on the clone that runs.
#if !defined(__has_feature)
#define __has_feature(feature) 0  // clang's word for what GCC calls __SANITIZE_THREAD__
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define SKV_REF_CLONES  // what picks a clone runs before TSan does, and would be instrumented
#else
#define SKV_REF_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#endif

namespace skv::kernels {
namespace {

constexpr int kOutputs = 16;
constexpr int kRows = 4;

// w_columns [num_inputs, kOutputs], x_rows [kRows, num_inputs], sums [kRows, kOutputs]
SKV_REF_CLONES void MultiplyTile(const double* w_columns, const double* x_rows, int num_inputs,
                                 double* sums) {
  double acc[kRows][kOutputs] = {};
  for (int k = 0; k < num_inputs; ++k) {
    for (int r = 0; r < kRows; ++r) {
      const double x = x_rows[r * num_inputs + k];
      for (int n = 0; n < kOutputs; ++n) acc[r][n] += x * w_columns[k * kOutputs + n];
    }
  }
  std::copy_n(&acc[0][0], kRows * kOutputs, sums);
}

template <typename Result>
void Multiply(const float* w, int num_outputs, int num_inputs, const float* x, int64_t x_stride,
              int num_rows, Result* y, int64_t y_stride) {
  const int padded_rows = (num_rows + kRows - 1) / kRows * kRows;
  std::vector<double> x_rows(size_t(padded_rows) * num_inputs);
  for (int t = 0; t < num_rows; ++t) {
    std::copy_n(x + t * x_stride, num_inputs, x_rows.data() + size_t(t) * num_inputs);
  }
  std::vector<double> w_columns(size_t(num_inputs) * kOutputs);
  double sums[kRows * kOutputs];
  for (int n = 0; n < num_outputs; n += kOutputs) {
    const int outputs = std::min(kOutputs, num_outputs - n);
    for (int i = 0; i < outputs; ++i) {
      const float* row = w + (size_t(n) + i) * num_inputs;
      for (int k = 0; k < num_inputs; ++k) w_columns[size_t(k) * kOutputs + i] = row[k];
    }
    for (int t = 0; t < num_rows; t += kRows) {
      MultiplyTile(w_columns.data(), x_rows.data() + size_t(t) * num_inputs, num_inputs, sums);
      for (int r = 0; r < std::min(kRows, num_rows - t); ++r) {
        std::copy_n(sums + r * kOutputs, outputs, y + (t + r) * y_stride + n);
      }
    }
  }
}

}  // namespace

void MatMulRef(const float* w, int num_outputs, int num_inputs, const float* x, int64_t x_stride,
               int num_rows, float* y, int64_t y_stride) {
  Multiply(w, num_outputs, num_inputs, x, x_stride, num_rows, y, y_stride);
}

void MatMulTotalsRef(const float* w, int num_outputs, int num_inputs, const float* x,
                     int64_t x_stride, int num_rows, double* totals, int64_t totals_stride) {
  Multiply(w, num_outputs, num_inputs, x, x_stride, num_rows, totals, totals_stride);
}

}  // namespace skv::kernels
