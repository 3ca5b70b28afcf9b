#pragma once
// Products of activation rows with a repacked weight matrix, y[t, n] = sum_k x[t, k] * W[n, k].
// The arithmetic (docs/arithmetic.md) is one chain of float operations per output element, in block
// order over k: its bits do not depend on the number of rows, on the range of outputs, on threads
// or on the ISA path. Quantised weights: activations of 16 bits in blocks, exact int32 dots inside
// a block. All functions are thread-safe and never allocate.

#include <cstddef>
#include <cstdint>

#include "kernels/quant/quant_type.h"

namespace skv::kernels {

// Outputs that are interleaved in one panel: one lane each.
inline constexpr int kPanelOutputs = 16;

// W [num_outputs, num_inputs], repacked in panels of kPanelOutputs outputs (the last one
// zero-padded).
struct PackedMatrix {
  QuantType type;               // of the file; decides the packed layout
  int num_outputs, num_inputs;  // num_inputs is a multiple of BlockElements(type)
  const std::byte* data;        // PackedMatrixBytes(...); faster when 64-byte aligned
};

size_t PackedMatrixBytes(QuantType type, int num_outputs, int num_inputs);

// Repacks outputs [output_begin, output_end) of a row-major matrix into `dst`, the start of the
// whole packed matrix.
//   src   row `output_begin` of the file's tensor (a column slice starts at a block boundary)
//   src_stride_bytes   bytes between rows of the file's tensor
// REQUIRES: output_begin is a multiple of kPanelOutputs, and output_end too unless it is
// num_outputs.
void PackMatrix(QuantType type, const std::byte* src, int64_t src_stride_bytes, int num_outputs,
                int num_inputs, int output_begin, int output_end, std::byte* dst);

// Repacks one output, row `src` of a quantised type, into `dst` as above. The others keep their
// values.
void PackOutput(QuantType type, const std::byte* src, int num_inputs, int output, std::byte* dst);

// dst[0..num_inputs) = row `output` of the packed matrix in float32: the token embedding when the
// embedding is tied to the head. Exactly DequantizeRow's values.
void UnpackRow(const PackedMatrix& w, int output, float* dst);

// Activation rows in the form that products with weights of `type` read. Depends on the row alone.
size_t PackedActivationBytes(QuantType type, int num_rows, int num_inputs);
// Packs rows [row_begin, row_end) of x [num_rows, num_inputs] (x_stride in elements) into `dst`,
// the start of all packed rows (faster when 64-byte aligned).
void PackActivations(QuantType type, const float* x, int64_t x_stride, int num_rows, int num_inputs,
                     int row_begin, int row_end, std::byte* dst);

// y[t, n] for t in [row_begin, row_end), n in [output_begin, output_end); y_stride in elements.
//   activations   from PackActivations with the same type and num_inputs, num_rows rows in all
// REQUIRES: output_begin is a multiple of kPanelOutputs, and output_end too unless it is
// num_outputs.
void MatMul(const PackedMatrix& w, const std::byte* activations, int num_rows, int row_begin,
            int row_end, int output_begin, int output_end, float* y, int64_t y_stride);

// The product of a matrix whose inputs may be cut and summed elsewhere: totals[t, n] is the sum in
// double, over segments of `segment_inputs` inputs (the last may be short), of what MatMul would
// give for the segment alone, rounded to a multiple of 2^-34. Below 2^17 such sums are exact: the
// totals of pieces of the matrix, cut between segments, add up to the same bits in any order.
// The rest as for MatMul.
// REQUIRES: segment_inputs is positive and a multiple of BlockElements(w.type).
void MatMulTotals(const PackedMatrix& w, const std::byte* activations, int num_rows, int row_begin,
                  int row_end, int output_begin, int output_end, int segment_inputs, double* totals,
                  int64_t totals_stride);

}  // namespace skv::kernels
