#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/quant/float_convert.h"
#include "kernels/quant/quant_type.h"

namespace skv::kernels {
namespace {

constexpr int kBlock = 32;
constexpr float kLargest = 127.0f;

// [scale | 32 x int8]
void QuantizeBlock(const float* src, std::byte* dst) {
  float magnitude = 0, non_finite = 0;
  for (int i = 0; i < kBlock; ++i) {
    magnitude = std::max(magnitude, std::fabs(src[i]));
    non_finite += src[i] * 0.0f;
  }
  uint16_t half = FloatToHalf(magnitude / kLargest);
  if (!(non_finite == 0.0f)) half = FloatToHalf(std::nanf(""));
  const float scale = HalfToFloat(half);
  // Quants of the rounded scale; those of a tiny one, which may have become much smaller, are cut.
  const float inverse = scale > 0 && std::isfinite(scale) ? 1.0f / scale : 0.0f;
  std::memcpy(dst, &half, sizeof(half));
  for (int i = 0; i < kBlock; ++i) {
    const float quant = inverse == 0 ? 0.0f : std::nearbyint(src[i] * inverse);
    dst[2 + i] =
        static_cast<std::byte>(static_cast<int8_t>(std::clamp(quant, -kLargest, kLargest)));
  }
}

}  // namespace

void QuantizeRowQ8_0(const float* src, int64_t num_elements, std::byte* dst) {
  for (int64_t i = 0; i < num_elements; i += kBlock, dst += 2 + kBlock) {
    QuantizeBlock(src + i, dst);
  }
}

}  // namespace skv::kernels
