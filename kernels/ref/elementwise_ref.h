#pragma once
// The row operations of kernels/elementwise.h with double sums and functions; same arguments.

#include <cstdint>

namespace skv::kernels {

void RmsNormRef(const float* x, int64_t x_stride, const float* weight, int num_rows, int hidden,
                float eps, float* y, int64_t y_stride);

// Takes the frequencies rather than a table: the angle is positions[t] * inv_freq[i] in double.
void RopeRef(float* x, int64_t x_stride, int num_rows, int num_heads, int head_dim,
             const float* inv_freq, const int32_t* positions);

void SiluMulRef(float* gate, int64_t gate_stride, const float* up, int64_t up_stride, int num_rows,
                int width);

}  // namespace skv::kernels
