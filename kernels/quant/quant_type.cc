#include "kernels/quant/quant_type.h"

namespace skv::kernels {
namespace {

struct TypeInfo {
  const char* name;
  int block_elements;
  int block_bytes;
};

// Bytes: 16-bit scales and minimums, then high bits, then low bits (dequantize.cc has the layouts).
const TypeInfo* FindTypeInfo(uint32_t type) {
  static constexpr TypeInfo kF32{"F32", 1, 4}, kF16{"F16", 1, 2}, kBF16{"BF16", 1, 2};
  static constexpr TypeInfo kQ4_0{"Q4_0", 32, 2 + 16}, kQ4_1{"Q4_1", 32, 4 + 16};
  static constexpr TypeInfo kQ5_0{"Q5_0", 32, 2 + 4 + 16}, kQ5_1{"Q5_1", 32, 4 + 4 + 16};
  static constexpr TypeInfo kQ8_0{"Q8_0", 32, 2 + 32};
  static constexpr TypeInfo kQ4_K{"Q4_K", 256, 4 + 12 + 128};
  static constexpr TypeInfo kQ5_K{"Q5_K", 256, 4 + 12 + 32 + 128};
  static constexpr TypeInfo kQ6_K{"Q6_K", 256, 128 + 64 + 16 + 2};
  switch (static_cast<QuantType>(type)) {
    case QuantType::kF32:
      return &kF32;
    case QuantType::kF16:
      return &kF16;
    case QuantType::kQ4_0:
      return &kQ4_0;
    case QuantType::kQ4_1:
      return &kQ4_1;
    case QuantType::kQ5_0:
      return &kQ5_0;
    case QuantType::kQ5_1:
      return &kQ5_1;
    case QuantType::kQ8_0:
      return &kQ8_0;
    case QuantType::kQ4_K:
      return &kQ4_K;
    case QuantType::kQ5_K:
      return &kQ5_K;
    case QuantType::kQ6_K:
      return &kQ6_K;
    case QuantType::kBF16:
      return &kBF16;
  }
  return nullptr;
}

}  // namespace

const char* QuantTypeName(QuantType type) {
  const TypeInfo* info = FindTypeInfo(static_cast<uint32_t>(type));
  return info == nullptr ? nullptr : info->name;
}

bool IsKnownQuantType(uint32_t type) { return FindTypeInfo(type) != nullptr; }

int BlockElements(QuantType type) {
  return FindTypeInfo(static_cast<uint32_t>(type))->block_elements;
}

int BlockBytes(QuantType type) { return FindTypeInfo(static_cast<uint32_t>(type))->block_bytes; }

}  // namespace skv::kernels
