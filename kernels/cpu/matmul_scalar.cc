// The packed arithmetic in plain C++, one output at a time: what the vector paths must equal bit by
// bit.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/pack_activations_body.h"
#include "kernels/cpu/packed_format.h"
#include "kernels/cpu/segment_sums.h"
#include "kernels/quant/float_convert.h"

namespace skv::kernels {
namespace {

template <typename T>
T LoadAs(const void* src) {
  T value;
  std::memcpy(&value, src, sizeof(value));
  return value;
}

struct BlockScales {
  float d, m;
};

// `header` and `block` are those of the group and block.
BlockScales LoadScales(const PackedFormat& format, const std::byte* header, const std::byte* block,
                       int lane) {
  float d = HalfToFloat(LoadAs<uint16_t>(header + 2 * lane));
  float m = 0.0f;
  if (format.has_min) m = HalfToFloat(LoadAs<uint16_t>(header + 2 * (kPanelOutputs + lane)));
  if (format.two_level) {
    const auto level = static_cast<uint8_t>(block[lane]);
    d *= format.signed_scales ? static_cast<float>(static_cast<int8_t>(level)) : level;
    if (format.has_min) m *= -static_cast<float>(block[kPanelOutputs + lane]);
  }
  if (!format.has_min) m = d * static_cast<float>(-format.offset);
  return {d, m};
}

int32_t BlockDot(const PackedFormat& format, const std::byte* quants, int lane,
                 const std::byte* q) {
  int32_t sum = 0;
  for (int k = 0; k < format.block_elements; ++k) {
    const int chunk = format.bits == 4 ? k / 8 : k / 4;
    auto u = static_cast<uint8_t>(quants[chunk * 64 + 4 * lane + k % 4]);
    if (format.bits == 4) u = k % 8 < 4 ? u & 15 : u >> 4;
    const int v =
        256 * static_cast<int8_t>(q[k]) + static_cast<int8_t>(q[format.block_elements + k]);
    sum += int32_t{u} * v;
  }
  return sum;
}

float QuantizedDot(const PackedFormat& format, const std::byte* panel, int lane, int num_inputs,
                   const std::byte* activations) {
  float sum = 0.0f;
  for (int k = 0; k < num_inputs; k += format.GroupElements(), panel += format.GroupBytes()) {
    for (int i = 0; i < format.blocks_per_group; ++i) {
      const std::byte* block = panel + format.HeaderBytes() + i * format.BlockBytes();
      const BlockScales scales = LoadScales(format, panel, block, lane);
      const float s = LoadAs<float>(activations), scaled_sum = LoadAs<float>(activations + 4);
      const int32_t dot = BlockDot(format, block + format.ScaleBytes(), lane, activations + 8);
      sum = std::fma(scales.m, scaled_sum, sum);
      sum = std::fma(static_cast<float>(dot), scales.d * s, sum);
      activations += format.ActivationBlockBytes();
    }
  }
  return sum;
}

float LoadWeight(QuantType type, const std::byte* panel, int64_t index) {
  if (type == QuantType::kF32) return LoadAs<float>(panel + 4 * index);
  const auto bits = LoadAs<uint16_t>(panel + 2 * index);
  return type == QuantType::kF16 ? HalfToFloat(bits) : Bfloat16ToFloat(bits);
}

float FloatDot(QuantType type, const std::byte* panel, int lane, int num_inputs,
               const std::byte* activations) {
  float sum = 0.0f;
  for (int k = 0; k < num_inputs; ++k) {
    const float w = LoadWeight(type, panel, int64_t{k} * kPanelOutputs + lane);
    sum = std::fma(LoadAs<float>(activations + 4 * k), w, sum);
  }
  return sum;
}

float Dot(QuantType type, const std::byte* panel, int lane, int num_inputs,
          const std::byte* activations) {
  return IsFloatType(type) ? FloatDot(type, panel, lane, num_inputs, activations)
                           : QuantizedDot(FormatOf(type), panel, lane, num_inputs, activations);
}

double TotalOfSegments(QuantType type, const std::byte* panel, int lane, int num_inputs,
                       int segment_inputs, const std::byte* activations) {
  double total = kTotalBias;
  for (int begin = 0; begin < num_inputs; begin += segment_inputs) {
    const int count = std::min(segment_inputs, num_inputs - begin);
    const double sum = Dot(type, panel, lane, count, activations);
    total = std::fma(sum, kTieBreaker, total);
    panel += PanelBytes(type, segment_inputs);
    activations += ActivationBytes(type, segment_inputs);
  }
  return total - kTotalBias;
}

void MatMulScalar(const MatMulCall& call) {
  const PackedMatrix& w = *call.w;
  const size_t stride = ActivationStride(w.type, w.num_inputs);
  for (int n = call.output_begin; n < call.output_end; ++n) {
    const std::byte* panel = w.data + size_t(n / kPanelOutputs) * PanelBytes(w.type, w.num_inputs);
    const int lane = n % kPanelOutputs;
    for (int t = call.row_begin; t < call.row_end; ++t) {
      const std::byte* row = call.activations + size_t(t) * stride;
      const int64_t index = t * call.y_stride + n;
      if (call.totals != nullptr) {
        call.totals[index] =
            TotalOfSegments(w.type, panel, lane, w.num_inputs, call.segment_inputs, row);
      } else {
        call.y[index] = Dot(w.type, panel, lane, w.num_inputs, row);
      }
    }
  }
}

}  // namespace

const MatMulKernels kMatMulScalar = {PackRow, MatMulScalar};

}  // namespace skv::kernels
