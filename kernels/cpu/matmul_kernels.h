#pragma once
// The products of one instruction set; internal to kernels/cpu and its tests. All tables yield the
// same bits; kernels/matmul.h explains the arguments.

#include "kernels/cpu/dispatch.h"
#include "kernels/matmul.h"

namespace skv::kernels {

struct MatMulCall {
  const PackedMatrix* w;
  const std::byte* activations;
  int row_begin, row_end;
  int output_begin, output_end;
  float* y;  // null where totals are wanted
  int64_t y_stride;
  double* totals = nullptr;  // of segments of `segment_inputs` inputs
  int segment_inputs = 0;
};

struct MatMulKernels {
  // Quantises one row into blocks of `block_elements` (16 or 32) elements.
  void (*pack_row)(const float* x, int num_inputs, int block_elements, std::byte* dst);
  void (*matmul)(const MatMulCall& call);
};

extern const MatMulKernels kMatMulScalar;
extern const MatMulKernels kMatMulAvx2;
extern const MatMulKernels kMatMulAvx512Vnni;

// REQUIRES: isa <= BestIsa().
const MatMulKernels& MatMulKernelsFor(Isa isa);

}  // namespace skv::kernels
