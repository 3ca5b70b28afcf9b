#pragma once
// Sixteen int32 lanes that gather exact dots: with AVX-512 4-way ones of unsigned by signed bytes,
// with AVX2 2-way ones of words; beside F32x16 the vocabulary of matmul_body.h. Vector instruction
// sets only.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/f32x16.h"

namespace skv::kernels {
namespace {

int32_t LoadFourBytes(const std::byte* p) {
  int32_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

#if defined(__AVX512F__)

struct Bytes64 {  // lane i: bytes 4i..4i+3
  __m512i v;
};
struct I32x16 {
  __m512i v;
};

inline I32x16 ZeroI32() { return {_mm512_setzero_si512()}; }
inline Bytes64 LoadBytes(const std::byte* p) { return {_mm512_loadu_si512(p)}; }
inline Bytes64 LowNibbles(Bytes64 a) { return {_mm512_and_si512(a.v, _mm512_set1_epi8(15))}; }
inline Bytes64 HighNibbles(Bytes64 a) {
  return {_mm512_and_si512(_mm512_srli_epi16(a.v, 4), _mm512_set1_epi8(15))};
}
// Four bytes for every lane.
inline Bytes64 BroadcastFour(const std::byte* p) { return {_mm512_set1_epi32(LoadFourBytes(p))}; }
// acc + dot of the lane's four unsigned u and signed q; kBits bounds u.
template <int kBits>
inline I32x16 DotAdd(I32x16 acc, Bytes64 u, Bytes64 q) {
  return {_mm512_dpbusd_epi32(acc.v, u.v, q.v)};
}
inline I32x16 Times256(I32x16 a) { return {_mm512_slli_epi32(a.v, 8)}; }
inline I32x16 Add(I32x16 a, I32x16 b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline F32x16 ToFloat(I32x16 a) { return {_mm512_cvtepi32_ps(a.v)}; }

inline F32x16 LoadHalves(const std::byte* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline F32x16 LoadBfloat16s(const std::byte* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
inline F32x16 LoadUint8s(const std::byte* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))};
}
inline F32x16 LoadInt8s(const std::byte* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
}

#else

struct Bytes64 {
  __m256i lo, hi;
};
struct I32x16 {
  __m256i lo, hi;
};

inline I32x16 ZeroI32() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline Bytes64 LoadBytes(const std::byte* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
}
// Sixteen-bit words, two for each of 16 lanes.
struct Words32 {
  __m256i lo, hi;
};
template <int kBits, int I>
inline __m256i QuantPair(__m256i chunk) {
  constexpr int kShift = kBits == 8 ? 8 * I : (I % 2 * 8 + I / 2 * 4);
  const __m256i shifted = kShift == 0 ? chunk : _mm256_srli_epi16(chunk, kShift);
  if constexpr (kShift + kBits == 16) return shifted;
  return _mm256_and_si256(shifted, _mm256_set1_epi16((1 << kBits) - 1));
}
// Quants of the elements whose values are pair I of a chunk: 0 and 2, 1 and 3; of 4 bits also 4 and
// 6, 5 and 7.
template <int kBits, int I>
inline Words32 QuantPair(Bytes64 chunk) {
  return {QuantPair<kBits, I>(chunk.lo), QuantPair<kBits, I>(chunk.hi)};
}
// Two words for every lane.
inline Words32 BroadcastPair(const std::byte* p) {
  const __m256i value = _mm256_set1_epi32(LoadFourBytes(p));
  return {value, value};
}
// One after the other: a compiler that sums many dots in a tree runs out of registers.
inline __m256i PairDotAdd(__m256i acc, __m256i u, __m256i v) {
  acc = _mm256_add_epi32(acc, _mm256_madd_epi16(u, v));
  asm("" : "+x"(acc));
  return acc;
}
inline I32x16 PairDotAdd(I32x16 acc, Words32 u, Words32 v) {
  return {PairDotAdd(acc.lo, u.lo, v.lo), PairDotAdd(acc.hi, u.hi, v.hi)};
}
inline F32x16 ToFloat(I32x16 a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }

inline __m128i Load128(const std::byte* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
inline F32x16 LoadHalves(const std::byte* p) {
  return {_mm256_cvtph_ps(Load128(p)), _mm256_cvtph_ps(Load128(p + 16))};
}
inline __m256 WidenBfloat16s(__m128i bits) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline F32x16 LoadBfloat16s(const std::byte* p) {
  return {WidenBfloat16s(Load128(p)), WidenBfloat16s(Load128(p + 16))};
}
inline F32x16 LoadUint8s(const std::byte* p) {
  const __m128i bytes = Load128(p);
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))};
}
inline F32x16 LoadInt8s(const std::byte* p) {
  const __m128i bytes = Load128(p);
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
}

#endif

}  // namespace
}  // namespace skv::kernels
