#pragma once
// Quantisation of keys and queries for sketches. Included by one file per instruction set.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/bf16_pairs.h"
#include "kernels/cpu/f32x16.h"
#include "kernels/cpu/key_sketch_kernels.h"

namespace skv::kernels {
namespace {

constexpr float kLargestCode = 15;
constexpr float kLargestQuery = 127;
constexpr Bf16 kBf16Nan = 0x7fc0;

Bf16 RoundedBf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return RoundToBf16(bits);
}

float Widened(Bf16 x) {
  const uint32_t bits = uint32_t{x} << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

struct SketchScale {
  Bf16 step, minimum;
};

// Channels from c on; lanes beyond the last channel repeat it.
F32x16 LoadChannels(const float* key, int c, int head_dim) {
  if (c + kLanes <= head_dim) return Load(key + c);
  float channels[kLanes];
  for (int i = 0; i < kLanes; ++i) channels[i] = key[std::min(c + i, head_dim - 1)];
  return Load(channels);
}

SketchScale ScaleOfKey(const float* key, int head_dim) {
  F32x16 largest = Set1(key[0]), opposite = Sub(Zero(), largest), non_finite = Zero();
  for (int c = 0; c < head_dim; c += kLanes) {
    const F32x16 x = LoadChannels(key, c, head_dim);
    largest = Max(x, largest);
    opposite = Max(Sub(Zero(), x), opposite);
    non_finite = Fma(x, Zero(), non_finite);
  }
  SketchScale scale;
  scale.minimum = RoundedBf16(0.0f - ReduceMax(opposite));
  scale.step = RoundedBf16((ReduceMax(largest) - Widened(scale.minimum)) / kLargestCode);
  const float step = Widened(scale.step);
  const bool finite = ReduceAdd(non_finite) == 0.0f && std::isfinite(step);
  if (!finite) scale.minimum = kBf16Nan;
  if (!finite || !(step > 0.0f)) scale.step = 0;
  return scale;
}

void MakeSketch(const float* key, int head_dim, std::byte* sketch) {
  const SketchScale scale = ScaleOfKey(key, head_dim);
  const F32x16 minimum = Set1(Widened(scale.minimum));
  const F32x16 inverse = Set1(scale.step == 0 ? 0.0f : 1.0f / Widened(scale.step));
  for (int c = 0; c < head_dim; c += kSketchChannels) {
    int8_t codes[kSketchChannels];
    const int num_channels = std::min(kSketchChannels, head_dim - c);
    for (int i = 0; i < num_channels; i += kLanes) {
      const F32x16 x = LoadChannels(key, c + i, head_dim);
      const F32x16 steps = Round(Mul(Sub(x, minimum), inverse));
      StoreInt8(codes + i, Min(Max(steps, Zero()), Set1(kLargestCode)));  // NaN becomes 0
    }
    std::fill(codes + num_channels, codes + kSketchChannels, int8_t{0});
    for (int i = 0; i < kSketchCodeBytes; ++i) {
      sketch[i] = static_cast<std::byte>(codes[i] | codes[i + kSketchCodeBytes] << 4);
    }
    sketch += kSketchCodeBytes;
  }
  std::memcpy(sketch, &scale.step, sizeof(Bf16));
  std::memcpy(sketch + sizeof(Bf16), &scale.minimum, sizeof(Bf16));
}

void PackQuery(const float* query, int head_dim, std::byte* packed) {
  F32x16 magnitude = Zero(), non_finite = Zero();
  const auto load = [&](int c) {
    const int left = head_dim - c;
    return left < kLanes ? LoadPartial(query + c, left) : Load(query + c);
  };
  for (int c = 0; c < head_dim; c += kLanes) {
    const F32x16 x = load(c);
    magnitude = Max(Abs(x), magnitude);
    non_finite = Fma(x, Zero(), non_finite);
  }
  const bool finite = ReduceAdd(non_finite) == 0.0f;
  const float amax = ReduceMax(magnitude);
  const bool zero = amax < 1e-30f;  // kLargestQuery / amax might overflow
  const F32x16 inverse = Set1(kLargestQuery / amax);
  F32x16 sum = Zero();
  for (int c = 0; c < SketchChunks(head_dim) * kSketchChannels; c += kLanes) {
    F32x16 v = Zero();
    if (finite && !zero && c < head_dim) v = Round(Mul(load(c), inverse));
    sum = Add(sum, v);
    StoreInt8(reinterpret_cast<int8_t*>(packed + c), v);
  }
  const float scale = !finite ? __builtin_nanf("") : zero ? 0.0f : amax / kLargestQuery;
  const SketchQueryScale scales = {scale, ReduceAdd(sum)};
  std::memcpy(packed + SketchQueryStride(head_dim) - sizeof(scales), &scales, sizeof(scales));
}

}  // namespace
}  // namespace skv::kernels
