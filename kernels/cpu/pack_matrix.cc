// Repacking of file blocks into panels. Each file format is decoded to plain unsigned quants and
// its scales; the panel layout is written in one place.

#include <algorithm>
#include <cstring>

#include "kernels/cpu/packed_format.h"
#include "kernels/matmul.h"
#include "kernels/quant/float_convert.h"

namespace skv::kernels {
namespace {

constexpr int kMaxGroupElements = 256;

// One group of one output.
struct DecodedGroup {
  uint16_t d, m;                 // float16
  uint8_t scales[16], mins[16];  // of two levels: by block
  uint8_t u[kMaxGroupElements];
};

uint16_t LoadU16(const uint8_t* src) {
  uint16_t value;
  std::memcpy(&value, src, sizeof(value));
  return value;
}

// 16 bytes hold elements 0..15 in their low and 16..31 in their high nibbles.
void SplitNibbles(const uint8_t* quants, int half, uint8_t* u) {
  for (int i = 0; i < half; ++i) {
    u[i] = quants[i] & 15;
    u[i + half] = quants[i] >> 4;
  }
}

void AddFifthBits(const uint8_t* src, uint8_t* u) {
  uint32_t bits;
  std::memcpy(&bits, src, sizeof(bits));
  for (int i = 0; i < 32; ++i) u[i] |= (bits >> i & 1u) << 4;
}

// 8 scales and 8 minimums of 6 bits each in 12 bytes.
void DecodeSixBitScales(const uint8_t* src, DecodedGroup* group) {
  for (int i = 0; i < 4; ++i) {
    group->scales[i] = src[i] & 63;
    group->mins[i] = src[i + 4] & 63;
    group->scales[i + 4] = (src[i + 8] & 15) | (src[i] >> 6) << 4;
    group->mins[i + 4] = (src[i + 8] >> 4) | (src[i + 4] >> 6) << 4;
  }
}

void DecodeQ4_K(const uint8_t* src, DecodedGroup* group) {
  group->d = LoadU16(src);
  group->m = LoadU16(src + 2);
  DecodeSixBitScales(src + 4, group);
  for (int i = 0; i < 4; ++i) SplitNibbles(src + 16 + 32 * i, 32, group->u + 64 * i);
}

void DecodeQ5_K(const uint8_t* src, DecodedGroup* group) {
  group->d = LoadU16(src);
  group->m = LoadU16(src + 2);
  DecodeSixBitScales(src + 4, group);
  for (int i = 0; i < 4; ++i) SplitNibbles(src + 48 + 32 * i, 32, group->u + 64 * i);
  for (int i = 0; i < 256; ++i) group->u[i] |= (src[16 + i % 32] >> (i / 32) & 1) << 4;
}

void DecodeQ6_K(const uint8_t* src, DecodedGroup* group) {
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = src + 64 * half;
    const uint8_t* high = src + 128 + 32 * half;
    uint8_t* u = group->u + 128 * half;
    for (int i = 0; i < 128; ++i) {
      const int nibble = low[i % 64] >> (i / 64 * 4) & 15;
      u[i] = nibble | (high[i % 32] >> (i / 32 * 2) & 3) << 4;
    }
  }
  std::memcpy(group->scales, src + 192, 16);
  group->d = LoadU16(src + 208);
}

void DecodeGroup(QuantType type, const uint8_t* src, DecodedGroup* group) {
  group->d = LoadU16(src);
  switch (type) {
    case QuantType::kQ4_0:
      return SplitNibbles(src + 2, 16, group->u);
    case QuantType::kQ4_1:
      group->m = LoadU16(src + 2);
      return SplitNibbles(src + 4, 16, group->u);
    case QuantType::kQ5_0:
      SplitNibbles(src + 6, 16, group->u);
      return AddFifthBits(src + 2, group->u);
    case QuantType::kQ5_1:
      group->m = LoadU16(src + 2);
      SplitNibbles(src + 8, 16, group->u);
      return AddFifthBits(src + 4, group->u);
    case QuantType::kQ4_K:
      return DecodeQ4_K(src, group);
    case QuantType::kQ5_K:
      return DecodeQ5_K(src, group);
    case QuantType::kQ6_K:
      return DecodeQ6_K(src, group);
    default:  // Q8_0
      for (int i = 0; i < 32; ++i) group->u[i] = src[2 + i] ^ 0x80;
  }
}

// Writes lane `lane` of one packed group.
void StoreGroup(const PackedFormat& format, const DecodedGroup& group, int lane, uint8_t* dst) {
  std::memcpy(dst + 2 * lane, &group.d, 2);
  if (format.has_min) std::memcpy(dst + 2 * (kPanelOutputs + lane), &group.m, 2);
  dst += format.HeaderBytes();
  const uint8_t* u = group.u;
  for (int block = 0; block < format.blocks_per_group; ++block) {
    if (format.two_level) dst[lane] = group.scales[block];
    if (format.two_level && format.has_min) dst[kPanelOutputs + lane] = group.mins[block];
    uint8_t* quants = dst + format.ScaleBytes() + 4 * lane;
    const int step = format.bits == 4 ? 8 : 4;
    for (int k = 0; k < format.block_elements; k += step, quants += 4 * kPanelOutputs) {
      for (int j = 0; j < 4; ++j) {
        quants[j] = format.bits == 4 ? u[k + j] | u[k + 4 + j] << 4 : u[k + j];
      }
    }
    u += format.block_elements;
    dst += format.BlockBytes();
  }
}

// Reads lane `lane` of one packed group: the inverse of StoreGroup.
void LoadGroup(const PackedFormat& format, const uint8_t* src, int lane, DecodedGroup* group) {
  group->d = LoadU16(src + 2 * lane);
  if (format.has_min) group->m = LoadU16(src + 2 * (kPanelOutputs + lane));
  src += format.HeaderBytes();
  uint8_t* u = group->u;
  for (int block = 0; block < format.blocks_per_group; ++block) {
    if (format.two_level) group->scales[block] = src[lane];
    if (format.two_level && format.has_min) group->mins[block] = src[kPanelOutputs + lane];
    const uint8_t* quants = src + format.ScaleBytes() + 4 * lane;
    const int step = format.bits == 4 ? 8 : 4;
    for (int k = 0; k < format.block_elements; k += step, quants += 4 * kPanelOutputs) {
      for (int j = 0; j < 4; ++j) {
        u[k + j] = format.bits == 4 ? quants[j] & 15 : quants[j];
        if (format.bits == 4) u[k + 4 + j] = quants[j] >> 4;
      }
    }
    u += format.block_elements;
    src += format.BlockBytes();
  }
}

void DequantizeGroup(const PackedFormat& format, const DecodedGroup& group, float* dst) {
  const float d = HalfToFloat(group.d);
  for (int i = 0; i < format.GroupElements(); ++i) {
    const int block = i / format.block_elements;
    float scale = d;
    if (format.two_level) {
      const uint8_t level = group.scales[block];
      scale *= format.signed_scales ? static_cast<float>(static_cast<int8_t>(level)) : level;
    }
    float value = scale * static_cast<float>(group.u[i] - format.offset);
    if (format.has_min && format.two_level) value -= HalfToFloat(group.m) * group.mins[block];
    if (format.has_min && !format.two_level) value += HalfToFloat(group.m);
    dst[i] = value;
  }
}

void PackFloatPanel(int element_bytes, const std::byte* src, int64_t src_stride_bytes, int lanes,
                    int num_inputs, std::byte* dst) {
  for (int k = 0; k < num_inputs; ++k) {
    for (int lane = 0; lane < lanes; ++lane) {
      std::memcpy(dst + (size_t(k) * kPanelOutputs + lane) * element_bytes,
                  src + lane * src_stride_bytes + size_t(k) * element_bytes, element_bytes);
    }
  }
}

void PackQuantLane(QuantType type, const std::byte* src, int num_inputs, int lane,
                   std::byte* panel) {
  const PackedFormat format = FormatOf(type);
  const auto* row = reinterpret_cast<const uint8_t*>(src);
  auto* out = reinterpret_cast<uint8_t*>(panel);
  for (int k = 0; k < num_inputs; k += format.GroupElements()) {
    DecodedGroup group;
    DecodeGroup(type, row, &group);
    StoreGroup(format, group, lane, out);
    row += BlockBytes(type);
    out += format.GroupBytes();
  }
}

float LoadFloat(QuantType type, const std::byte* src) {
  uint32_t bits = 0;
  std::memcpy(&bits, src, type == QuantType::kF32 ? 4 : 2);
  if (type == QuantType::kF16) return HalfToFloat(static_cast<uint16_t>(bits));
  if (type == QuantType::kBF16) bits <<= 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace

size_t PackedMatrixBytes(QuantType type, int num_outputs, int num_inputs) {
  const size_t num_panels = (size_t(num_outputs) + kPanelOutputs - 1) / kPanelOutputs;
  return num_panels * PanelBytes(type, num_inputs);
}

void PackMatrix(QuantType type, const std::byte* src, int64_t src_stride_bytes, int num_outputs,
                int num_inputs, int output_begin, int output_end, std::byte* dst) {
  const size_t panel_bytes = PanelBytes(type, num_inputs);
  for (int output = output_begin; output < output_end; output += kPanelOutputs) {
    const int lanes = std::min(kPanelOutputs, output_end - output);
    std::byte* panel = dst + size_t(output / kPanelOutputs) * panel_bytes;
    const std::byte* rows = src + (output - output_begin) * src_stride_bytes;
    if (lanes < kPanelOutputs) std::memset(panel, 0, panel_bytes);
    if (IsFloatType(type)) {
      PackFloatPanel(BlockBytes(type), rows, src_stride_bytes, lanes, num_inputs, panel);
    } else {
      for (int lane = 0; lane < lanes; ++lane) {
        PackQuantLane(type, rows + lane * src_stride_bytes, num_inputs, lane, panel);
      }
    }
  }
}

void PackOutput(QuantType type, const std::byte* src, int num_inputs, int output, std::byte* dst) {
  std::byte* panel = dst + size_t(output / kPanelOutputs) * PanelBytes(type, num_inputs);
  PackQuantLane(type, src, num_inputs, output % kPanelOutputs, panel);
}

void UnpackRow(const PackedMatrix& w, int output, float* dst) {
  const std::byte* panel =
      w.data + size_t(output / kPanelOutputs) * PanelBytes(w.type, w.num_inputs);
  const int lane = output % kPanelOutputs;
  if (IsFloatType(w.type)) {
    const int element_bytes = BlockBytes(w.type);
    for (int k = 0; k < w.num_inputs; ++k) {
      dst[k] = LoadFloat(w.type, panel + (size_t(k) * kPanelOutputs + lane) * element_bytes);
    }
    return;
  }
  const PackedFormat format = FormatOf(w.type);
  for (int k = 0; k < w.num_inputs; k += format.GroupElements()) {
    DecodedGroup group;
    LoadGroup(format, reinterpret_cast<const uint8_t*>(panel), lane, &group);
    DequantizeGroup(format, group, dst + k);
    panel += format.GroupBytes();
  }
}

}  // namespace skv::kernels
