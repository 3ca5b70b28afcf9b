// Every bit pattern of the quants and of the small integer scales is a valid block; only the 16-bit
// float scales have to be sane. So a random matrix of any format is random bytes with these set.

#include <cstring>
#include <vector>

#include "kernels/quant/float_convert.h"
#include "worker/loader/testing/splitmix64.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::loader {
namespace {

using kernels::QuantType;

struct BlockScales {
  int scale_offset;      // of the float16 scale in the block
  int minimum_offset;    // of the float16 minimum, -1 where the format has none
  float unit_spread;     // standard deviation of the values for scale 1
  float minimum_factor;  // minimum / scale that centres the values on 0
};

// Uniform quants of b bits have the deviation 2^b / sqrt(12); K-quants multiply in their group
// scales (6 bits: mean 31.5, mean square 1333; int8 in Q6_K: deviation 74).
BlockScales ScalesOf(QuantType type) {
  switch (type) {
    case QuantType::kQ4_0:
      return {0, -1, 4.6f, 0};
    case QuantType::kQ4_1:
      return {0, 2, 4.6f, -7.5f};
    case QuantType::kQ5_0:
      return {0, -1, 9.2f, 0};
    case QuantType::kQ5_1:
      return {0, 2, 9.2f, -15.5f};
    case QuantType::kQ8_0:
      return {0, -1, 74, 0};
    case QuantType::kQ4_K:
      return {0, 2, 258, 7.5f};
    case QuantType::kQ5_K:
      return {0, 2, 526, 15.5f};
    default:
      return {208, -1, 1366, 0};  // Q6_K
  }
}

std::string RandomFloats(QuantType type, int64_t num_elements, float spread, SplitMix64* random) {
  std::string out;
  out.reserve(num_elements * kernels::BlockBytes(type));
  for (int64_t i = 0; i < num_elements; ++i) {
    const float value = spread * random->NextUnitSpread();
    if (type == QuantType::kF32) {
      out.append(reinterpret_cast<const char*>(&value), sizeof(value));
      continue;
    }
    const uint16_t narrow =
        type == QuantType::kF16 ? kernels::FloatToHalf(value) : kernels::FloatToBfloat16(value);
    out.append(reinterpret_cast<const char*>(&narrow), sizeof(narrow));
  }
  return out;
}

}  // namespace

std::string RandomBlocks(QuantType type, int64_t num_elements, float spread, uint64_t seed) {
  SplitMix64 random(seed);
  if (kernels::BlockElements(type) == 1) return RandomFloats(type, num_elements, spread, &random);
  const int block_bytes = kernels::BlockBytes(type);
  const int64_t num_blocks = num_elements / kernels::BlockElements(type);
  std::vector<uint64_t> words((num_blocks * block_bytes + 7) / 8);
  for (uint64_t& word : words) word = random.Next();
  std::string out(reinterpret_cast<const char*>(words.data()), num_blocks * block_bytes);

  const BlockScales scales = ScalesOf(type);
  const float unit = spread / scales.unit_spread;
  for (int64_t i = 0; i < num_blocks; ++i) {
    char* block = out.data() + i * block_bytes;
    const float scale = unit * (1.0f + 0.2f * random.NextUnitSpread());
    const uint16_t half = kernels::FloatToHalf(scale);
    std::memcpy(block + scales.scale_offset, &half, sizeof(half));
    if (scales.minimum_offset < 0) continue;
    const uint16_t minimum = kernels::FloatToHalf(scale * scales.minimum_factor);
    std::memcpy(block + scales.minimum_offset, &minimum, sizeof(minimum));
  }
  return out;
}

}  // namespace skv::loader
