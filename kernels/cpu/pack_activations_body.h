#pragma once
// Quantisation of one activation row. Included by one file per instruction set.

#include <cstddef>
#include <cstring>

#include "kernels/cpu/f32x16.h"

namespace skv::kernels {
namespace {

constexpr float kMaxValue = 127 * 256;  // |v|: the high byte then fits int8 whatever the low one is

// s = amax / kMaxValue and v = round(x * kMaxValue / amax). A block that holds an inf or NaN has
// s = NaN, so that whatever reads it is NaN on every path; one of all tiny numbers is zero, as
// kMaxValue / amax would overflow.
template <int kBlock>
void PackBlock(const float* x, std::byte* dst) {
  constexpr int kVectors = kBlock / kLanes;
  F32x16 lanes[kVectors], magnitude = Zero(), non_finite = Zero();
  for (int i = 0; i < kVectors; ++i) {
    lanes[i] = Load(x + i * kLanes);
    magnitude = Max(Abs(lanes[i]), magnitude);
    non_finite = Fma(lanes[i], Zero(), non_finite);
  }
  const float amax = ReduceMax(magnitude);
  float scale = amax / kMaxValue, inverse = kMaxValue / amax;
  if (!(ReduceAdd(non_finite) == 0.0f)) {
    scale = __builtin_nanf("");
    inverse = 0.0f;
    for (F32x16& lane : lanes) lane = Zero();
  } else if (amax < 1e-30f) {
    scale = inverse = 0.0f;
  }
  F32x16 sum = Zero();
  for (int i = 0; i < kVectors; ++i) {
    const F32x16 v = Round(Mul(lanes[i], Set1(inverse)));
    sum = Add(sum, v);  // exact: at most 32 * kMaxValue
    // The quarter breaks ties upwards, so that low = v - 256 * high lies in [-128, 127].
    const F32x16 high = Round(Mul(Add(v, Set1(0.25f)), Set1(1.0f / 256)));
    const F32x16 low = Fma(high, Set1(-256.0f), v);
    StoreInt8(reinterpret_cast<int8_t*>(dst + 8 + i * kLanes), high);
    StoreInt8(reinterpret_cast<int8_t*>(dst + 8 + kBlock + i * kLanes), low);
  }
  const float scaled_sum = scale * ReduceAdd(sum);
  std::memcpy(dst, &scale, sizeof(scale));
  std::memcpy(dst + 4, &scaled_sum, sizeof(scaled_sum));
}

void PackRow(const float* x, int num_inputs, int block_elements, std::byte* dst) {
  if (block_elements == 16) {
    for (int k = 0; k < num_inputs; k += 16, dst += 8 + 2 * 16) PackBlock<16>(x + k, dst);
  } else {
    for (int k = 0; k < num_inputs; k += 32, dst += 8 + 2 * 32) PackBlock<32>(x + k, dst);
  }
}

}  // namespace
}  // namespace skv::kernels
