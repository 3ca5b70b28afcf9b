#include "kernels/ref/elementwise_ref.h"

#include <cmath>

namespace skv::kernels {

void RmsNormRef(const float* x, int64_t x_stride, const float* weight, int num_rows, int hidden,
                float eps, float* y, int64_t y_stride) {
  for (int t = 0; t < num_rows; ++t) {
    const float* row = x + t * x_stride;
    double squares = 0;
    for (int i = 0; i < hidden; ++i) squares += double{row[i]} * row[i];
    const double scale = 1 / std::sqrt(squares / hidden + eps);
    for (int i = 0; i < hidden; ++i) {
      y[t * y_stride + i] = static_cast<float>(row[i] * scale * weight[i]);
    }
  }
}

void RopeRef(float* x, int64_t x_stride, int num_rows, int num_heads, int head_dim,
             const float* inv_freq, const int32_t* positions) {
  for (int t = 0; t < num_rows; ++t) {
    for (int i = 0; i < head_dim / 2; ++i) {
      const double angle = static_cast<double>(positions[t]) * inv_freq[i];
      const double cosine = std::cos(angle), sine = std::sin(angle);
      for (int h = 0; h < num_heads; ++h) {
        float* pair = x + t * x_stride + int64_t{h} * head_dim + 2 * i;
        const double first = pair[0], second = pair[1];
        pair[0] = static_cast<float>(first * cosine - second * sine);
        pair[1] = static_cast<float>(first * sine + second * cosine);
      }
    }
  }
}

void SiluMulRef(float* gate, int64_t gate_stride, const float* up, int64_t up_stride, int num_rows,
                int width) {
  for (int t = 0; t < num_rows; ++t) {
    for (int i = 0; i < width; ++i) {
      const double g = gate[t * gate_stride + i];
      gate[t * gate_stride + i] =
          static_cast<float>(g / (1 + std::exp(-g)) * up[t * up_stride + i]);
    }
  }
}

}  // namespace skv::kernels
