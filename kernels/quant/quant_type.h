#pragma once
// Element types of weight rows as model files store them (ggml's numbering and block formats),
// shared by the loader and the packed products. A row is a whole number of blocks.

#include <cstddef>
#include <cstdint>

namespace skv::kernels {

// The values are ggml's type ids.
enum class QuantType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30,
};

// nullptr when `type` is none of the above.
const char* QuantTypeName(QuantType type);
bool IsKnownQuantType(uint32_t type);
// Elements and bytes of one block (1 element for the plain float types). REQUIRES: a known type.
int BlockElements(QuantType type);
int BlockBytes(QuantType type);

// dst[0..num_elements) = the row's values in float32. `src` need not be aligned.
// REQUIRES: num_elements is a multiple of BlockElements(type).
void DequantizeRow(QuantType type, const std::byte* src, int64_t num_elements, float* dst);

// The inverse for kQ4_1, the one type that rows computed here are kept in: each block's minimum and
// the fifteenth part of its range are rounded to float16, and its values to the nearest step; what
// float16 does not hold is cut. A block with an inf or NaN becomes all NaN.
// REQUIRES: num_elements is a multiple of BlockElements(kQ4_1).
void QuantizeRowQ4_1(const float* src, int64_t num_elements, std::byte* dst);

}  // namespace skv::kernels
