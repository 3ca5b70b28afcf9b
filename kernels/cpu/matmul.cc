#include "kernels/matmul.h"

#include <cstring>

#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/packed_format.h"

namespace skv::kernels {
namespace {

const MatMulKernels& Active() {
  static const MatMulKernels& kernels = MatMulKernelsFor(ActiveIsa());
  return kernels;
}

}  // namespace

const MatMulKernels& MatMulKernelsFor(Isa isa) {
  if (isa >= Isa::kAvx512Vnni) return kMatMulAvx512Vnni;
  return isa >= Isa::kAvx2 ? kMatMulAvx2 : kMatMulScalar;
}

size_t PackedActivationBytes(QuantType type, int num_rows, int num_inputs) {
  return size_t(num_rows) * ActivationStride(type, num_inputs);
}

void PackActivations(QuantType type, const float* x, int64_t x_stride, int num_rows, int num_inputs,
                     int row_begin, int row_end, std::byte* dst) {
  const size_t stride = ActivationStride(type, num_inputs);
  for (int t = row_begin; t < row_end; ++t) {
    std::byte* row = dst + size_t(t) * stride;
    if (IsFloatType(type)) {
      std::memcpy(row, x + t * x_stride, size_t(num_inputs) * sizeof(float));
    } else {
      Active().pack_row(x + t * x_stride, num_inputs, FormatOf(type).block_elements, row);
    }
  }
}

void MatMul(const PackedMatrix& w, const std::byte* activations, int num_rows, int row_begin,
            int row_end, int output_begin, int output_end, float* y, int64_t y_stride) {
  Active().matmul({&w, activations, row_begin, row_end, output_begin, output_end, y, y_stride});
}

void MatMulTotals(const PackedMatrix& w, const std::byte* activations, int num_rows, int row_begin,
                  int row_end, int output_begin, int output_end, int segment_inputs, double* totals,
                  int64_t totals_stride) {
  Active().matmul({&w, activations, row_begin, row_end, output_begin, output_end, nullptr,
                   totals_stride, totals, segment_inputs});
}

}  // namespace skv::kernels
