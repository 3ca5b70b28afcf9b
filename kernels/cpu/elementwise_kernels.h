#pragma once
// The row operations of one instruction set; internal to kernels/cpu and its tests. All tables
// yield the same bits; kernels/elementwise.h explains the arguments.

#include <cstdint>

#include "kernels/cpu/dispatch.h"

namespace skv::kernels {

struct ElementwiseKernels {
  void (*rms_norm)(const float* x, const float* weight, int hidden, float eps, float* y);
  void (*rope_head)(float* x, int head_dim, const float* cos_sin);
  void (*silu_mul)(float* gate, const float* up, int width);
  void (*add_totals)(float* x, const double* totals, int width);
};

extern const ElementwiseKernels kElementwiseScalar;
extern const ElementwiseKernels kElementwiseAvx2;
extern const ElementwiseKernels kElementwiseAvx512;

// REQUIRES: isa <= BestIsa().
const ElementwiseKernels& ElementwiseKernelsFor(Isa isa);

}  // namespace skv::kernels
