#pragma once
// Row operations between the products. One arithmetic on every ISA path: sums run in 16 lanes over
// k and are folded in a fixed tree, so that a row's bits depend on the row alone
// (docs/arithmetic.md).

#include <cstdint>

namespace skv::kernels {

// y[t, :] = x[t, :] / sqrt(mean(x[t, :]^2) + eps) * weight; x, y [num_rows, hidden]; y may be x.
void RmsNorm(const float* x, int64_t x_stride, const float* weight, int num_rows, int hidden,
             float eps, float* y, int64_t y_stride);

// cos_sin[p, i] = cos and sin of p * inv_freq[i] for i < head_dim/2, computed in double.
//   cos_sin   [num_positions, head_dim/2, 2]
void MakeRopeTable(const float* inv_freq, int head_dim, int num_positions, float* cos_sin);

// Rotates pairs (2i, 2i+1) of each head (GGUF's "llama" order) in place.
//   x         [num_rows, num_heads * head_dim], x_stride in elements
//   cos_sin   [num_positions, head_dim/2, 2]: cos and sin by position, from MakeRopeTable
//   positions [num_rows]
void Rope(float* x, int64_t x_stride, int num_rows, int num_heads, int head_dim,
          const float* cos_sin, const int32_t* positions);

// gate[t, i] = silu(gate[t, i]) * up[t, i].
void SiluMul(float* gate, int64_t gate_stride, const float* up, int64_t up_stride, int num_rows,
             int width);

// x[t, i] += totals[t, i], the total rounded to float32 first.
void AddTotals(float* x, int64_t x_stride, const double* totals, int64_t totals_stride,
               int num_rows, int width);

}  // namespace skv::kernels
