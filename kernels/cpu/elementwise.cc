#include "kernels/elementwise.h"

#include <cmath>

#include "kernels/cpu/elementwise_kernels.h"

namespace skv::kernels {
namespace {

const ElementwiseKernels& Active() {
  static const ElementwiseKernels& kernels = ElementwiseKernelsFor(ActiveIsa());
  return kernels;
}

}  // namespace

const ElementwiseKernels& ElementwiseKernelsFor(Isa isa) {
  if (isa >= Isa::kAvx512) return kElementwiseAvx512;
  return isa == Isa::kAvx2 ? kElementwiseAvx2 : kElementwiseScalar;
}

void RmsNorm(const float* x, int64_t x_stride, const float* weight, int num_rows, int hidden,
             float eps, float* y, int64_t y_stride) {
  for (int t = 0; t < num_rows; ++t) {
    Active().rms_norm(x + t * x_stride, weight, hidden, eps, y + t * y_stride);
  }
}

void MakeRopeTable(const float* inv_freq, int head_dim, int num_positions, float* cos_sin) {
  for (int p = 0; p < num_positions; ++p) {
    for (int i = 0; i < head_dim / 2; ++i) {
      const double angle = static_cast<double>(p) * static_cast<double>(inv_freq[i]);
      *cos_sin++ = static_cast<float>(std::cos(angle));
      *cos_sin++ = static_cast<float>(std::sin(angle));
    }
  }
}

void Rope(float* x, int64_t x_stride, int num_rows, int num_heads, int head_dim,
          const float* cos_sin, const int32_t* positions) {
  for (int t = 0; t < num_rows; ++t) {
    const float* row = cos_sin + int64_t{positions[t]} * head_dim;
    for (int h = 0; h < num_heads; ++h) {
      Active().rope_head(x + t * x_stride + int64_t{h} * head_dim, head_dim, row);
    }
  }
}

void SiluMul(float* gate, int64_t gate_stride, const float* up, int64_t up_stride, int num_rows,
             int width) {
  for (int t = 0; t < num_rows; ++t) {
    Active().silu_mul(gate + t * gate_stride, up + t * up_stride, width);
  }
}

void AddTotals(float* x, int64_t x_stride, const double* totals, int64_t totals_stride,
               int num_rows, int width) {
  for (int t = 0; t < num_rows; ++t) {
    Active().add_totals(x + t * x_stride, totals + t * totals_stride, width);
  }
}

}  // namespace skv::kernels
