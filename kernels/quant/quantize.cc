#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/quant/float_convert.h"
#include "kernels/quant/quant_type.h"

namespace skv::kernels {
namespace {

constexpr int kBlock = 32;
constexpr float kSteps = 15.0f;
constexpr float kLargestHalf = 65504.0f;

// [scale | minimum | 16 bytes: value i in the low half, i + 16 in the high half of byte i]
void QuantizeBlock(const float* src, std::byte* dst) {
  const auto [low, high] = std::minmax_element(src, src + kBlock);
  float non_finite = 0;
  for (int i = 0; i < kBlock; ++i) non_finite += src[i] * 0.0f;
  uint16_t halves[2] = {FloatToHalf(std::min((*high - *low) / kSteps, kLargestHalf)),
                        FloatToHalf(std::clamp(*low, -kLargestHalf, kLargestHalf))};
  if (!(non_finite == 0.0f)) halves[0] = halves[1] = FloatToHalf(std::nanf(""));
  const float scale = HalfToFloat(halves[0]), minimum = HalfToFloat(halves[1]);
  // Quants of the rounded scale and minimum; those of a tiny scale, which may have become much
  // smaller, are cut.
  const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
  const auto quant = [&](int i) {
    const float steps = inverse == 0 ? 0.0f : std::nearbyint((src[i] - minimum) * inverse);
    return static_cast<uint8_t>(std::clamp(steps, 0.0f, kSteps));
  };
  std::memcpy(dst, halves, sizeof(halves));
  for (int i = 0; i < kBlock / 2; ++i) {
    dst[sizeof(halves) + i] = static_cast<std::byte>(quant(i) | quant(kBlock / 2 + i) << 4);
  }
}

}  // namespace

void QuantizeRowQ4_1(const float* src, int64_t num_elements, std::byte* dst) {
  for (int64_t i = 0; i < num_elements; i += kBlock, dst += 4 + kBlock / 2) {
    QuantizeBlock(src + i, dst);
  }
}

}  // namespace skv::kernels
