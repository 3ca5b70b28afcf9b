#pragma once
// The product in double precision: the truth that the packed products are compared with, and the
// arithmetic of the reference backend.

#include <cstdint>

namespace skv::kernels {

// y[t, n] = sum_k x[t, k] * w[n, k], summed in double in order over k, rounded to float32 at the
// end.
//   w   [num_outputs, num_inputs], contiguous (dequantised)
//   x   [num_rows, num_inputs], x_stride in elements; y [num_rows, num_outputs], y_stride likewise
// Thread-safe; allocates a few KB per call.
void MatMulRef(const float* w, int num_outputs, int num_inputs, const float* x, int64_t x_stride,
               int num_rows, float* y, int64_t y_stride);

// The same, not rounded at the end.
void MatMulTotalsRef(const float* w, int num_outputs, int num_inputs, const float* x,
                     int64_t x_stride, int num_rows, double* totals, int64_t totals_stride);

}  // namespace skv::kernels
