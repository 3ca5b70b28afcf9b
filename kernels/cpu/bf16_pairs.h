#pragma once
// Sixteen 32-bit lanes of bf16 pairs beside the float lanes of f32x16.h, with the same bits on
// every instruction set. The even element of a pair is the low half. Included by kernel files only;
// everything has internal linkage, since two files of one lane width may differ in DotPairs.
// REQUIRES for DotPairs: denormals are flushed (kernels/denormals.h), as VDPBF16PS always does.

#include <cstdint>
#include <cstring>

#include "kernels/attention.h"
#include "kernels/cpu/f32x16.h"

namespace skv::kernels {
namespace {

#if defined(__AVX512F__)

struct Pairs16 {
  __m512i v;
};

inline Pairs16 SetPairs(uint32_t x) { return {_mm512_set1_epi32(static_cast<int>(x))}; }
inline Pairs16 LoadPairs(const uint32_t* p) { return {_mm512_loadu_si512(p)}; }
inline void StorePairs(uint32_t* p, Pairs16 a) { _mm512_storeu_si512(p, a.v); }
inline Pairs16 And(Pairs16 a, Pairs16 b) { return {_mm512_and_si512(a.v, b.v)}; }
inline F32x16 EvenToFloat(Pairs16 a) { return {_mm512_castsi512_ps(_mm512_slli_epi32(a.v, 16))}; }
inline F32x16 OddToFloat(Pairs16 a) {
  return {_mm512_castsi512_ps(_mm512_and_si512(a.v, _mm512_set1_epi32(-65536)))};
}
// 16 consecutive bf16, exactly.
inline F32x16 LoadBf16(const Bf16* p) {
  const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16))};
}
// Lanes [0, count) of x, `other` in the rest.
inline F32x16 KeepFirst(F32x16 x, int count, F32x16 other) {
  const auto keep = static_cast<__mmask16>((1u << (count < 0 ? 0 : count)) - 1);
  return {_mm512_mask_blend_ps(keep, other.v, x.v)};
}

#elif defined(__AVX2__) && defined(__FMA__)

struct Pairs16 {
  __m256i lo, hi;
};

inline Pairs16 SetPairs(uint32_t x) {
  const __m256i v = _mm256_set1_epi32(static_cast<int>(x));
  return {v, v};
}
inline Pairs16 LoadPairs(const uint32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
}
inline void StorePairs(uint32_t* p, Pairs16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.lo);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), a.hi);
}
inline Pairs16 And(Pairs16 a, Pairs16 b) {
  return {_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)};
}
inline F32x16 EvenToFloat(Pairs16 a) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(a.lo, 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(a.hi, 16))};
}
inline F32x16 OddToFloat(Pairs16 a) {
  const Pairs16 odd = And(a, SetPairs(0xffff0000u));
  return {_mm256_castsi256_ps(odd.lo), _mm256_castsi256_ps(odd.hi)};
}
inline F32x16 LoadBf16(const Bf16* p) {
  const __m256i low = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m256i high =
      _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(low, 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(high, 16))};
}
inline F32x16 KeepFirst(F32x16 x, int count, F32x16 other) {
  return {_mm256_blendv_ps(other.lo, x.lo, _mm256_castsi256_ps(PartialMask(count, 0))),
          _mm256_blendv_ps(other.hi, x.hi, _mm256_castsi256_ps(PartialMask(count, 1)))};
}

#else

struct Pairs16 {
  uint32_t v[kLanes];
};

inline Pairs16 SetPairs(uint32_t x) {
  Pairs16 result;
  for (uint32_t& lane : result.v) lane = x;
  return result;
}
inline Pairs16 LoadPairs(const uint32_t* p) {
  Pairs16 result;
  std::memcpy(result.v, p, sizeof(result.v));
  return result;
}
inline void StorePairs(uint32_t* p, Pairs16 a) { std::memcpy(p, a.v, sizeof(a.v)); }
inline Pairs16 And(Pairs16 a, Pairs16 b) {
  for (int i = 0; i < kLanes; ++i) a.v[i] &= b.v[i];
  return a;
}
inline float FloatOfBits(uint32_t bits) {
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}
inline F32x16 EvenToFloat(Pairs16 a) {
  return MapLanes([&](int i) { return FloatOfBits(a.v[i] << 16); });
}
inline F32x16 OddToFloat(Pairs16 a) {
  return MapLanes([&](int i) { return FloatOfBits(a.v[i] & 0xffff0000u); });
}
inline F32x16 LoadBf16(const Bf16* p) {
  return MapLanes([&](int i) { return FloatOfBits(uint32_t{p[i]} << 16); });
}
inline F32x16 KeepFirst(F32x16 x, int count, F32x16 other) {
  return MapLanes([&](int i) { return i < count ? x.v[i] : other.v[i]; });
}

#endif

#if defined(__AVX512BF16__)

// acc + a.odd * b.odd rounded, then + a.even * b.even rounded.
inline F32x16 DotPairs(F32x16 acc, Pairs16 a, Pairs16 b) {
  return {_mm512_dpbf16_ps(acc.v, (__m512bh)a.v, (__m512bh)b.v)};
}
// 32 floats rounded to nearest even, in order; denormals become zero, NaN stays NaN.
inline Pairs16 RoundToPairs(F32x16 first, F32x16 second) {
  return {(__m512i)_mm512_cvtne2ps_pbh(second.v, first.v)};
}

#else

inline F32x16 DotPairs(F32x16 acc, Pairs16 a, Pairs16 b) {
  acc = Fma(OddToFloat(a), OddToFloat(b), acc);
  return Fma(EvenToFloat(a), EvenToFloat(b), acc);
}
inline uint16_t RoundToBf16(uint32_t bits) {
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  if (magnitude < 0x00800000u) return static_cast<uint16_t>((bits & 0x80000000u) >> 16);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}
inline Pairs16 RoundToPairs(F32x16 first, F32x16 second) {
  uint32_t bits[2 * kLanes];
  static_assert(sizeof(F32x16) * 2 == sizeof(bits));
  std::memcpy(bits, &first, sizeof(first));
  std::memcpy(bits + kLanes, &second, sizeof(second));
  uint32_t pairs[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    pairs[i] = RoundToBf16(bits[2 * i]) | uint32_t{RoundToBf16(bits[2 * i + 1])} << 16;
  }
  return LoadPairs(pairs);
}

#endif

#if defined(__AVX512F__)
// Element numbers of (even row, odd row) for channels 0, 1, ...: the odd row's begin at 32.
alignas(64) constexpr uint16_t kInterleave[64] = {
    0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
    11, 43, 12, 44, 13, 45, 14, 46, 15, 47, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53,
    22, 54, 23, 55, 24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63};
#endif

// 32 channels of two rows as pairs (even[c], odd[c]): channels 0..15, then 16..31.
inline void InterleaveRows(const Bf16* even, const Bf16* odd, Pairs16* first, Pairs16* second) {
#if defined(__AVX512F__)
  const __m512i low = _mm512_load_si512(kInterleave), high = _mm512_load_si512(kInterleave + 32);
  const __m512i a = _mm512_loadu_si512(even), b = _mm512_loadu_si512(odd);
  *first = {_mm512_permutex2var_epi16(a, low, b)};
  *second = {_mm512_permutex2var_epi16(a, high, b)};
#elif defined(__AVX2__) && defined(__FMA__)
  Pairs16* const out[] = {first, second};
  for (int i = 0; i < 2; ++i) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(even + i * kLanes));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(odd + i * kLanes));
    const __m256i low = _mm256_unpacklo_epi16(a, b), high = _mm256_unpackhi_epi16(a, b);
    *out[i] = {_mm256_permute2x128_si256(low, high, 0x20),
               _mm256_permute2x128_si256(low, high, 0x31)};
  }
#else
  for (int c = 0; c < kLanes; ++c) {
    first->v[c] = even[c] | uint32_t{odd[c]} << 16;
    second->v[c] = even[kLanes + c] | uint32_t{odd[kLanes + c]} << 16;
  }
#endif
}

#if defined(__AVX512F__)

// dst[pair * stride + i] = pair `pair` of rows[i], for the 16 pairs at `offset` of 16 rows.
inline void TransposeRows(const Bf16* const* rows, int offset, uint32_t* dst, int stride) {
  __m512i a[16], b[16];
  for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(rows[i] + offset);
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
    a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
    a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
  }
  // The 128-bit lane l of a[4 g + m] now holds pair 4 l + m of rows 4 g .. 4 g + 3.
  for (int m = 0; m < 4; ++m) {
    const __m512i even_lo = _mm512_shuffle_i32x4(a[m], a[4 + m], 0x88);
    const __m512i odd_lo = _mm512_shuffle_i32x4(a[m], a[4 + m], 0xdd);
    const __m512i even_hi = _mm512_shuffle_i32x4(a[8 + m], a[12 + m], 0x88);
    const __m512i odd_hi = _mm512_shuffle_i32x4(a[8 + m], a[12 + m], 0xdd);
    _mm512_storeu_si512(dst + m * stride, _mm512_shuffle_i32x4(even_lo, even_hi, 0x88));
    _mm512_storeu_si512(dst + (4 + m) * stride, _mm512_shuffle_i32x4(odd_lo, odd_hi, 0x88));
    _mm512_storeu_si512(dst + (8 + m) * stride, _mm512_shuffle_i32x4(even_lo, even_hi, 0xdd));
    _mm512_storeu_si512(dst + (12 + m) * stride, _mm512_shuffle_i32x4(odd_lo, odd_hi, 0xdd));
  }
}

#elif defined(__AVX2__) && defined(__FMA__)

// dst[pair * stride + i] = pair `pair` of rows[i], for the 8 pairs at `offset` of 8 rows.
inline void TransposeEight(const Bf16* const* rows, int offset, uint32_t* dst, int stride) {
  __m256 a[8], b[8];
  for (int i = 0; i < 8; ++i) {
    a[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(rows[i] + offset));
  }
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
    a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
    a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
    a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
  }
  // The 128-bit lane l of a[4 g + m] now holds pair 4 l + m of rows 4 g .. 4 g + 3.
  for (int m = 0; m < 4; ++m) {
    auto* const low = reinterpret_cast<float*>(dst + m * stride);
    auto* const high = reinterpret_cast<float*>(dst + (4 + m) * stride);
    _mm256_storeu_ps(low, _mm256_permute2f128_ps(a[m], a[4 + m], 0x20));
    _mm256_storeu_ps(high, _mm256_permute2f128_ps(a[m], a[4 + m], 0x31));
  }
}

inline void TransposeRows(const Bf16* const* rows, int offset, uint32_t* dst, int stride) {
  for (const int row : {0, 8}) {
    for (const int pair : {0, 8}) {
      TransposeEight(rows + row, offset + 2 * pair, dst + pair * stride + row, stride);
    }
  }
}

#else

inline void TransposeRows(const Bf16* const* rows, int offset, uint32_t* dst, int stride) {
  for (int i = 0; i < kLanes; ++i) {
    uint32_t row[kLanes];
    std::memcpy(row, rows[i] + offset, sizeof(row));
    for (int pair = 0; pair < kLanes; ++pair) dst[pair * stride + i] = row[pair];
  }
}

#endif

}  // namespace
}  // namespace skv::kernels
