// One function per block format; all numbers are little-endian. In every format the low four bits
// of a byte hold an element of the first half of its group, the high four bits one of the second
// half.

#include <cstring>

#include "kernels/quant/float_convert.h"
#include "kernels/quant/quant_type.h"

namespace skv::kernels {
namespace {

constexpr int kSmallBlock = 32;
constexpr int kSuperBlock = 256;

uint16_t LoadU16(const uint8_t* src) {
  uint16_t value;
  std::memcpy(&value, src, sizeof(value));
  return value;
}

uint32_t LoadU32(const uint8_t* src) {
  uint32_t value;
  std::memcpy(&value, src, sizeof(value));
  return value;
}

float LoadHalf(const uint8_t* src) { return HalfToFloat(LoadU16(src)); }

// [scale | 16 x (low, high nibble)]
void DequantizeQ4_0(const uint8_t* src, float* dst) {
  const float scale = LoadHalf(src);
  const uint8_t* quants = src + 2;
  for (int i = 0; i < 16; ++i) {
    dst[i] = static_cast<float>((quants[i] & 15) - 8) * scale;
    dst[i + 16] = static_cast<float>((quants[i] >> 4) - 8) * scale;
  }
}

// [scale | minimum | 16 x nibbles]
void DequantizeQ4_1(const uint8_t* src, float* dst) {
  const float scale = LoadHalf(src), minimum = LoadHalf(src + 2);
  const uint8_t* quants = src + 4;
  for (int i = 0; i < 16; ++i) {
    dst[i] = static_cast<float>(quants[i] & 15) * scale + minimum;
    dst[i + 16] = static_cast<float>(quants[i] >> 4) * scale + minimum;
  }
}

// The fifth bit of element i is bit i of `high_bits`.
int FiveBits(const uint8_t* quants, uint32_t high_bits, int element) {
  const int low = element < 16 ? quants[element] & 15 : quants[element - 16] >> 4;
  return low | static_cast<int>((high_bits >> element) & 1u) << 4;
}

// [scale | 32 fifth bits | 16 x nibbles]
void DequantizeQ5_0(const uint8_t* src, float* dst) {
  const float scale = LoadHalf(src);
  const uint32_t high_bits = LoadU32(src + 2);
  for (int i = 0; i < kSmallBlock; ++i) {
    dst[i] = static_cast<float>(FiveBits(src + 6, high_bits, i) - 16) * scale;
  }
}

// [scale | minimum | 32 fifth bits | 16 x nibbles]
void DequantizeQ5_1(const uint8_t* src, float* dst) {
  const float scale = LoadHalf(src), minimum = LoadHalf(src + 2);
  const uint32_t high_bits = LoadU32(src + 4);
  for (int i = 0; i < kSmallBlock; ++i) {
    dst[i] = static_cast<float>(FiveBits(src + 8, high_bits, i)) * scale + minimum;
  }
}

// [scale | 32 x int8]
void DequantizeQ8_0(const uint8_t* src, float* dst) {
  const float scale = LoadHalf(src);
  for (int i = 0; i < kSmallBlock; ++i) {
    dst[i] = static_cast<float>(static_cast<int8_t>(src[2 + i])) * scale;
  }
}

// Eight 6-bit scales and eight 6-bit minimums in 12 bytes: the first four of each lie in the low
// six bits of bytes 0-3 and 4-7; of the others, the low nibbles share bytes 8-11 and the two high
// bits are the top bits of the earlier bytes.
struct GroupScale {
  int scale, minimum;
};

GroupScale UnpackGroupScale(const uint8_t* packed, int group) {
  if (group < 4) return {packed[group] & 63, packed[group + 4] & 63};
  return {(packed[group + 4] & 15) | (packed[group - 4] >> 6) << 4,
          (packed[group + 4] >> 4) | (packed[group] >> 6) << 4};
}

// [scale of scales | scale of minimums | 12 packed group scales | 128 x nibbles]; 64 elements share
// 32 bytes, so groups 2i and 2i+1 are the low and high nibbles of bytes [32i, 32i+32).
void DequantizeQ4_K(const uint8_t* src, float* dst) {
  const float scale = LoadHalf(src), minimum = LoadHalf(src + 2);
  for (int group = 0; group < 8; ++group) {
    const GroupScale packed = UnpackGroupScale(src + 4, group);
    const float group_scale = scale * static_cast<float>(packed.scale);
    const float group_minimum = minimum * static_cast<float>(packed.minimum);
    const uint8_t* quants = src + 16 + (group / 2) * 32;
    const int shift = (group % 2) * 4;
    for (int i = 0; i < 32; ++i) {
      const int quant = (quants[i] >> shift) & 15;
      dst[group * 32 + i] = group_scale * static_cast<float>(quant) - group_minimum;
    }
  }
}

// Q4_K with 32 bytes of fifth bits before the nibbles: bit `group` of byte i.
void DequantizeQ5_K(const uint8_t* src, float* dst) {
  const float scale = LoadHalf(src), minimum = LoadHalf(src + 2);
  const uint8_t* high_bits = src + 16;
  for (int group = 0; group < 8; ++group) {
    const GroupScale packed = UnpackGroupScale(src + 4, group);
    const float group_scale = scale * static_cast<float>(packed.scale);
    const float group_minimum = minimum * static_cast<float>(packed.minimum);
    const uint8_t* quants = src + 48 + (group / 2) * 32;
    const int shift = (group % 2) * 4;
    for (int i = 0; i < 32; ++i) {
      const int quant = ((quants[i] >> shift) & 15) | ((high_bits[i] >> group) & 1) << 4;
      dst[group * 32 + i] = group_scale * static_cast<float>(quant) - group_minimum;
    }
  }
}

// [128 low nibbles | 64 bytes of two high bits | 16 x int8 scale | scale of scales]. In each half
// of 128 elements, run r of 32 takes nibbles from low[32 * (r % 2) + i] and its high bits from bits
// 2r of high[i]; one scale covers 16 elements.
void DequantizeQ6_K(const uint8_t* src, float* dst) {
  const float scale = LoadHalf(src + 208);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = src + half * 64;
    const uint8_t* high = src + 128 + half * 32;
    const uint8_t* scales = src + 192 + half * 8;
    for (int i = 0; i < 128; ++i) {
      const int run = i / 32;
      const int nibble = (low[32 * (run % 2) + i % 32] >> (run < 2 ? 0 : 4)) & 15;
      const int quant = (nibble | ((high[i % 32] >> (2 * run)) & 3) << 4) - 32;
      const float group_scale = scale * static_cast<float>(static_cast<int8_t>(scales[i / 16]));
      dst[half * 128 + i] = group_scale * static_cast<float>(quant);
    }
  }
}

template <int kElements, void (*kDequantizeBlock)(const uint8_t*, float*)>
void DequantizeBlocks(QuantType type, const uint8_t* src, int64_t num_elements, float* dst) {
  const int block_bytes = BlockBytes(type);
  for (int64_t i = 0; i < num_elements; i += kElements, src += block_bytes) {
    kDequantizeBlock(src, dst + i);
  }
}

}  // namespace

void DequantizeRow(QuantType type, const std::byte* src, int64_t num_elements, float* dst) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(src);
  switch (type) {
    case QuantType::kF32:
      if (num_elements > 0) std::memcpy(dst, bytes, num_elements * sizeof(float));
      return;
    case QuantType::kF16:
      for (int64_t i = 0; i < num_elements; ++i) dst[i] = LoadHalf(bytes + 2 * i);
      return;
    case QuantType::kBF16:
      for (int64_t i = 0; i < num_elements; ++i) dst[i] = Bfloat16ToFloat(LoadU16(bytes + 2 * i));
      return;
    case QuantType::kQ4_0:
      return DequantizeBlocks<kSmallBlock, DequantizeQ4_0>(type, bytes, num_elements, dst);
    case QuantType::kQ4_1:
      return DequantizeBlocks<kSmallBlock, DequantizeQ4_1>(type, bytes, num_elements, dst);
    case QuantType::kQ5_0:
      return DequantizeBlocks<kSmallBlock, DequantizeQ5_0>(type, bytes, num_elements, dst);
    case QuantType::kQ5_1:
      return DequantizeBlocks<kSmallBlock, DequantizeQ5_1>(type, bytes, num_elements, dst);
    case QuantType::kQ8_0:
      return DequantizeBlocks<kSmallBlock, DequantizeQ8_0>(type, bytes, num_elements, dst);
    case QuantType::kQ4_K:
      return DequantizeBlocks<kSuperBlock, DequantizeQ4_K>(type, bytes, num_elements, dst);
    case QuantType::kQ5_K:
      return DequantizeBlocks<kSuperBlock, DequantizeQ5_K>(type, bytes, num_elements, dst);
    case QuantType::kQ6_K:
      return DequantizeBlocks<kSuperBlock, DequantizeQ6_K>(type, bytes, num_elements, dst);
  }
}

}  // namespace skv::kernels
