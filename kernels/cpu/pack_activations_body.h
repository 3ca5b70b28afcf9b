#pragma once
// Quantisation of one activation row. Included by one file per instruction set.

#include <cstddef>
#include <cstring>

#include "kernels/cpu/f32x16.h"

namespace skv::kernels {
namespace {

constexpr float kMaxValue = 127 * 256;  // |v|: the high byte then fits int8 whatever the low one is

// Stores the values of 16 elements of a block, the first of which is element k.
#if defined(__AVX2__) && !defined(__AVX512F__)
template <int kBlock>
void StoreValues(F32x16 v, int k, std::byte* values) {
  const __m256i mixed = _mm256_packs_epi32(_mm256_cvtps_epi32(v.lo), _mm256_cvtps_epi32(v.hi));
  const __m256i in_order = _mm256_permute4x64_epi64(mixed, 0xD8);
  const __m256i paired = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(in_order, 0xD8), 0xD8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(values + 2 * k), paired);
}
#else
template <int kBlock>
void StoreValues(F32x16 v, int k, std::byte* values) {
  // The quarter breaks ties upwards, so that low = v - 256 * high lies in [-128, 127].
  const F32x16 high = Round(Mul(Add(v, Set1(0.25f)), Set1(1.0f / 256)));
  const F32x16 low = Fma(high, Set1(-256.0f), v);
  StoreInt8(reinterpret_cast<int8_t*>(values + k), high);
  StoreInt8(reinterpret_cast<int8_t*>(values + kBlock + k), low);
}
#endif

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
    StoreValues<kBlock>(v, i * kLanes, dst + 8);
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
