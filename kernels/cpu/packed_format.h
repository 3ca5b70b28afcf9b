#pragma once
// Memory layouts of packed weights and packed activations (docs/arithmetic.md); internal to
// kernels/cpu.
//
// A panel holds kPanelOutputs outputs; panels follow each other. Quantised: a panel is a sequence
// of groups in order over k, a group is a header and blocks_per_group blocks:
//   header   d[16] float16; with has_min also m[16] float16
//   block    with two_level: scale[16] bytes, with has_min min[16] bytes; then the quants:
//     bits 8   [block/4][16 outputs][4 elements] bytes
//     bits 4   [block/8][16 outputs][4 elements] bytes: low nibble element 8c + j, high 8c + 4 + j
// so that 64 consecutive bytes feed 16 lanes of a 4-way int8 dot. Weight = D * u + M with u
// unsigned:
//     one level     D = d            M = has_min ? m : -offset * D
//     two levels    D = d * scale    M = has_min ? -(m * min) : -offset * D
// all of them exact in float32. Float types: [k][16 outputs] in the file's type.
//
// A quantised activation row is a sequence of blocks of the same length as the weights' blocks:
//   s float32, s * sum(v) float32, then the values v, which stand for s * v:
//     AVX2             int16, each four as v0 v2 v1 v3, the pairs that shifted quants line up with
//     everywhere else  high[block] int8, low[block] int8 with v = 256 * high + low
// Rows are padded to 64 bytes.
// For float weights a row is float32.

#include <cstddef>
#include <cstdint>

#include "kernels/matmul.h"

namespace skv::kernels {

struct PackedFormat {
  int block_elements;
  int blocks_per_group;
  int bits;
  int offset;  // of a symmetric type: the u that stands for 0
  bool has_min;
  bool two_level;
  bool signed_scales;  // of two levels: int8 scales, else uint8

  constexpr int HeaderBytes() const { return kPanelOutputs * (has_min ? 4 : 2); }
  constexpr int ScaleBytes() const { return two_level ? kPanelOutputs * (has_min ? 2 : 1) : 0; }
  constexpr int QuantBytes() const { return kPanelOutputs * block_elements * bits / 8; }
  constexpr int BlockBytes() const { return ScaleBytes() + QuantBytes(); }
  constexpr int GroupBytes() const { return HeaderBytes() + blocks_per_group * BlockBytes(); }
  constexpr int GroupElements() const { return block_elements * blocks_per_group; }
  constexpr int ActivationBlockBytes() const { return 8 + 2 * block_elements; }
};

constexpr bool IsFloatType(QuantType type) {
  return type == QuantType::kF32 || type == QuantType::kF16 || type == QuantType::kBF16;
}

// REQUIRES: not a float type.
constexpr PackedFormat FormatOf(QuantType type) {
  switch (type) {
    case QuantType::kQ4_0:
      return {32, 1, 4, 8, false, false, false};
    case QuantType::kQ4_1:
      return {32, 1, 4, 0, true, false, false};
    case QuantType::kQ5_0:
      return {32, 1, 8, 16, false, false, false};
    case QuantType::kQ5_1:
      return {32, 1, 8, 0, true, false, false};
    case QuantType::kQ4_K:
      return {32, 8, 4, 0, true, true, false};
    case QuantType::kQ5_K:
      return {32, 8, 8, 0, true, true, false};
    case QuantType::kQ6_K:
      return {16, 16, 8, 32, false, true, true};
    default:
      return {32, 1, 8, 128, false, false, false};  // Q8_0
  }
}

// Bytes of one panel over all of k.
constexpr size_t PanelBytes(QuantType type, int num_inputs) {
  if (IsFloatType(type)) {
    return size_t{kPanelOutputs} * num_inputs * (type == QuantType::kF32 ? 4 : 2);
  }
  const PackedFormat format = FormatOf(type);
  return size_t(num_inputs / format.GroupElements()) * format.GroupBytes();
}

// Bytes of `num_inputs` packed activations of one row.
constexpr size_t ActivationBytes(QuantType type, int num_inputs) {
  if (IsFloatType(type)) return size_t(num_inputs) * sizeof(float);
  const PackedFormat format = FormatOf(type);
  return size_t(num_inputs / format.block_elements) * format.ActivationBlockBytes();
}

// Bytes between packed activation rows.
constexpr size_t ActivationStride(QuantType type, int num_inputs) {
  return (ActivationBytes(type, num_inputs) + 63) / 64 * 64;
}

}  // namespace skv::kernels
