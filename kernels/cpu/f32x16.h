#pragma once
// Sixteen float32 lanes with one meaning on every instruction set that a file is compiled for: each
// lane operation rounds once, folds have a fixed tree, and Exp has a fixed order of operations. So
// code written with these lanes yields the same bits on AVX-512, AVX2 and portable C++.
//
// The ISA is that of the including file's compiler flags. Each variant lives in an inline namespace
// of its own, so that the linker never mixes them: a kernel file puts its functions that use F32x16
// into an unnamed namespace and exports one function table named after its ISA.

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define SKV_LANES_NAMESPACE lanes_avx512
#elif defined(__AVX2__) && defined(__FMA__)
#define SKV_LANES_NAMESPACE lanes_avx2
#else
#define SKV_LANES_NAMESPACE lanes_scalar
#endif

namespace skv::kernels {
inline namespace SKV_LANES_NAMESPACE {

inline constexpr int kLanes = 16;

#if defined(__AVX512F__)

struct F32x16 {
  __m512 v;
};

inline F32x16 Set1(float x) { return {_mm512_set1_ps(x)}; }
inline F32x16 Load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void Store(float* p, F32x16 a) { _mm512_storeu_ps(p, a.v); }
// The first n lanes (1..16); the other lanes read as 0 and are not written.
inline F32x16 LoadPartial(const float* p, int n) {
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p)};
}
inline void StorePartial(float* p, F32x16 a, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), a.v);
}
inline F32x16 Add(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F32x16 Sub(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F32x16 Mul(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F32x16 Div(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
// a * b + c, rounded once.
inline F32x16 Fma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// a > b ? a : b and a < b ? a : b, so the second operand where either is NaN.
inline F32x16 Max(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F32x16 Min(F32x16 a, F32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F32x16 Abs(F32x16 a) { return {_mm512_abs_ps(a.v)}; }
// To the nearest integer, ties to even.
inline F32x16 Round(F32x16 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// x < limit ? 0 : a (a where x is NaN).
inline F32x16 ZeroWhereLess(F32x16 x, F32x16 limit, F32x16 a) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, limit.v, _CMP_NLT_UQ), a.v)};
}
// Bit i: not x < limit in lane i (so also where x is NaN).
inline uint32_t NotLessMask(F32x16 x, F32x16 limit) {
  return _mm512_cmp_ps_mask(x.v, limit.v, _CMP_NLT_UQ);
}
// x < 0 ? a : b (b where x is NaN).
inline F32x16 SelectNegative(F32x16 x, F32x16 a, F32x16 b) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, _mm512_setzero_ps(), _CMP_LT_OQ), b.v, a.v)};
}
// p * 2^n by adding n to the exponent. REQUIRES: p and the result are normal, n is an integer.
inline F32x16 ScaleByPow2(F32x16 p, F32x16 n) {
  const __m512i shifted = _mm512_slli_epi32(_mm512_cvtps_epi32(n.v), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p.v), shifted))};
}
// Lanes folded to four: i with i+8, then i+4.
inline __m128 FoldToFour(F32x16 a) {
  const __m256 s8 =
      _mm256_add_ps(_mm512_castps512_ps256(a.v),
                    _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a.v), 1)));
  return _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
}
// Lanes folded in halves: i with i+8, then i+4, i+2, i+1.
inline float ReduceAdd(F32x16 a) {
  const __m128 s4 = FoldToFour(a);
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
inline float ReduceMax(F32x16 a) {
  const __m256 s8 =
      _mm256_max_ps(_mm512_castps512_ps256(a.v),
                    _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a.v), 1)));
  const __m128 s4 = _mm_max_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_max_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_max_ss(s2, _mm_movehdup_ps(s2)));
}
// Lanes that hold integers in [-128, 127], as int8.
inline void StoreInt8(int8_t* p, F32x16 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
}
// Of each pair of lanes (2i, 2i+1): exchanged; both the first; both the second.
inline F32x16 SwapPairs(F32x16 a) { return {_mm512_permute_ps(a.v, 0xB1)}; }
inline F32x16 DupEven(F32x16 a) { return {_mm512_moveldup_ps(a.v)}; }
inline F32x16 DupOdd(F32x16 a) { return {_mm512_movehdup_ps(a.v)}; }
// a * b - c in even lanes, a * b + c in odd ones, rounded once.
inline F32x16 FmaAddSub(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm512_fmaddsub_ps(a.v, b.v, c.v)};
}

#elif defined(__AVX2__) && defined(__FMA__)

struct F32x16 {
  __m256 lo, hi;
};

// Lanes [8 * half, 8 * half + 8) below n.
inline __m256i PartialMask(int n, int half) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n - 8 * half), lane);
}

inline F32x16 Set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline F32x16 Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void Store(float* p, F32x16 a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
inline F32x16 LoadPartial(const float* p, int n) {
  return {_mm256_maskload_ps(p, PartialMask(n, 0)), _mm256_maskload_ps(p + 8, PartialMask(n, 1))};
}
inline void StorePartial(float* p, F32x16 a, int n) {
  _mm256_maskstore_ps(p, PartialMask(n, 0), a.lo);
  _mm256_maskstore_ps(p + 8, PartialMask(n, 1), a.hi);
}
inline F32x16 Add(F32x16 a, F32x16 b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
inline F32x16 Sub(F32x16 a, F32x16 b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
inline F32x16 Mul(F32x16 a, F32x16 b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
inline F32x16 Div(F32x16 a, F32x16 b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
inline F32x16 Fma(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
inline F32x16 Max(F32x16 a, F32x16 b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
inline F32x16 Min(F32x16 a, F32x16 b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
inline F32x16 Abs(F32x16 a) {
  const __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  return {_mm256_and_ps(a.lo, mask), _mm256_and_ps(a.hi, mask)};
}
inline F32x16 Round(F32x16 a) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.lo, kMode), _mm256_round_ps(a.hi, kMode)};
}
inline F32x16 ZeroWhereLess(F32x16 x, F32x16 limit, F32x16 a) {
  return {_mm256_and_ps(_mm256_cmp_ps(x.lo, limit.lo, _CMP_NLT_UQ), a.lo),
          _mm256_and_ps(_mm256_cmp_ps(x.hi, limit.hi, _CMP_NLT_UQ), a.hi)};
}
inline uint32_t NotLessMask(F32x16 x, F32x16 limit) {
  const int low = _mm256_movemask_ps(_mm256_cmp_ps(x.lo, limit.lo, _CMP_NLT_UQ));
  const int high = _mm256_movemask_ps(_mm256_cmp_ps(x.hi, limit.hi, _CMP_NLT_UQ));
  return static_cast<uint32_t>(low | high << 8);
}
inline F32x16 SelectNegative(F32x16 x, F32x16 a, F32x16 b) {
  const __m256 zero = _mm256_setzero_ps();
  return {_mm256_blendv_ps(b.lo, a.lo, _mm256_cmp_ps(x.lo, zero, _CMP_LT_OQ)),
          _mm256_blendv_ps(b.hi, a.hi, _mm256_cmp_ps(x.hi, zero, _CMP_LT_OQ))};
}
inline __m256 ScaleHalfByPow2(__m256 p, __m256 n) {
  const __m256i shifted = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), shifted));
}
inline F32x16 ScaleByPow2(F32x16 p, F32x16 n) {
  return {ScaleHalfByPow2(p.lo, n.lo), ScaleHalfByPow2(p.hi, n.hi)};
}
inline __m128 FoldToFour(F32x16 a) {
  const __m256 s8 = _mm256_add_ps(a.lo, a.hi);
  return _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
}
inline float ReduceAdd(F32x16 a) {
  const __m128 s4 = FoldToFour(a);
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
inline float ReduceMax(F32x16 a) {
  const __m256 s8 = _mm256_max_ps(a.lo, a.hi);
  const __m128 s4 = _mm_max_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_max_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_max_ss(s2, _mm_movehdup_ps(s2)));
}
inline void StoreInt8(int8_t* p, F32x16 a) {
  const __m256i ab = _mm256_packs_epi32(_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi));
  const __m256i in_order = _mm256_permute4x64_epi64(ab, 0xD8);
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(p),
      _mm_packs_epi16(_mm256_castsi256_si128(in_order), _mm256_extracti128_si256(in_order, 1)));
}
inline F32x16 SwapPairs(F32x16 a) {
  return {_mm256_permute_ps(a.lo, 0xB1), _mm256_permute_ps(a.hi, 0xB1)};
}
inline F32x16 DupEven(F32x16 a) { return {_mm256_moveldup_ps(a.lo), _mm256_moveldup_ps(a.hi)}; }
inline F32x16 DupOdd(F32x16 a) { return {_mm256_movehdup_ps(a.lo), _mm256_movehdup_ps(a.hi)}; }
inline F32x16 FmaAddSub(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmaddsub_ps(a.lo, b.lo, c.lo), _mm256_fmaddsub_ps(a.hi, b.hi, c.hi)};
}

#else

struct F32x16 {
  float v[kLanes];
};

// One lane at a time: the definition that the vector variants are tested against.
template <typename Op>
inline F32x16 MapLanes(Op op) {
  F32x16 result;
  for (int i = 0; i < kLanes; ++i) result.v[i] = op(i);
  return result;
}

inline F32x16 Set1(float x) {
  return MapLanes([&](int) { return x; });
}
inline F32x16 Load(const float* p) {
  return MapLanes([&](int i) { return p[i]; });
}
inline void Store(float* p, F32x16 a) { std::memcpy(p, a.v, sizeof(a.v)); }
inline F32x16 LoadPartial(const float* p, int n) {
  return MapLanes([&](int i) { return i < n ? p[i] : 0.0f; });
}
inline void StorePartial(float* p, F32x16 a, int n) { std::memcpy(p, a.v, sizeof(float) * n); }
inline F32x16 Add(F32x16 a, F32x16 b) {
  return MapLanes([&](int i) { return a.v[i] + b.v[i]; });
}
inline F32x16 Sub(F32x16 a, F32x16 b) {
  return MapLanes([&](int i) { return a.v[i] - b.v[i]; });
}
inline F32x16 Mul(F32x16 a, F32x16 b) {
  return MapLanes([&](int i) { return a.v[i] * b.v[i]; });
}
inline F32x16 Div(F32x16 a, F32x16 b) {
  return MapLanes([&](int i) { return a.v[i] / b.v[i]; });
}
inline F32x16 Fma(F32x16 a, F32x16 b, F32x16 c) {
  return MapLanes([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); });
}
inline F32x16 Max(F32x16 a, F32x16 b) {
  return MapLanes([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline F32x16 Min(F32x16 a, F32x16 b) {
  return MapLanes([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline F32x16 Abs(F32x16 a) {
  return MapLanes([&](int i) { return std::fabs(a.v[i]); });
}
inline F32x16 Round(F32x16 a) {
  return MapLanes([&](int i) { return std::nearbyint(a.v[i]); });
}
inline F32x16 ZeroWhereLess(F32x16 x, F32x16 limit, F32x16 a) {
  return MapLanes([&](int i) { return x.v[i] < limit.v[i] ? 0.0f : a.v[i]; });
}
inline uint32_t NotLessMask(F32x16 x, F32x16 limit) {
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= uint32_t{!(x.v[i] < limit.v[i])} << i;
  return mask;
}
inline F32x16 SelectNegative(F32x16 x, F32x16 a, F32x16 b) {
  return MapLanes([&](int i) { return x.v[i] < 0.0f ? a.v[i] : b.v[i]; });
}
inline F32x16 ScaleByPow2(F32x16 p, F32x16 n) {
  return MapLanes([&](int i) {
    uint32_t bits;
    std::memcpy(&bits, &p.v[i], sizeof(bits));
    // Of what does not fit, NaN too, cvtps2dq makes 2^31, which vanishes in the shift.
    const bool fits = std::fabs(n.v[i]) < 0x1p31f;
    const int32_t exponent = fits ? static_cast<int32_t>(n.v[i]) : 0;
    bits += static_cast<uint32_t>(exponent) << 23;
    float result;
    std::memcpy(&result, &bits, sizeof(result));
    return result;
  });
}
template <typename Op>
inline float FoldLanes(F32x16 a, Op op) {
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) a.v[i] = op(a.v[i], a.v[i + half]);
  }
  return a.v[0];
}
inline float ReduceAdd(F32x16 a) {
  return FoldLanes(a, [](float x, float y) { return x + y; });
}
inline float ReduceMax(F32x16 a) {
  return FoldLanes(a, [](float x, float y) { return x > y ? x : y; });
}
inline void StoreInt8(int8_t* p, F32x16 a) {
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<int8_t>(a.v[i]);
}
inline F32x16 SwapPairs(F32x16 a) {
  return MapLanes([&](int i) { return a.v[i ^ 1]; });
}
inline F32x16 DupEven(F32x16 a) {
  return MapLanes([&](int i) { return a.v[i & ~1]; });
}
inline F32x16 DupOdd(F32x16 a) {
  return MapLanes([&](int i) { return a.v[i | 1]; });
}
inline F32x16 FmaAddSub(F32x16 a, F32x16 b, F32x16 c) {
  return MapLanes([&](int i) { return std::fma(a.v[i], b.v[i], i % 2 ? c.v[i] : -c.v[i]); });
}

#endif

inline F32x16 Zero() { return Set1(0.0f); }

// A value that is computed here and kept in registers: left alone, gcc loads operands early and
// keeps sums on the stack instead.
#if defined(__AVX512F__)
inline F32x16 InRegisters(F32x16 x) {
  asm volatile("" : "+v"(x.v));
  return x;
}
inline F32x16 InOneRegister(float x) { return InRegisters(Set1(x)); }
#elif defined(__AVX2__) && defined(__FMA__)
inline F32x16 InRegisters(F32x16 x) {
  asm volatile("" : "+x"(x.lo), "+x"(x.hi));
  return x;
}
inline F32x16 InOneRegister(float x) {
  __m256 lanes = _mm256_set1_ps(x);
  asm volatile("" : "+x"(lanes));
  return {lanes, lanes};
}
#else
inline F32x16 InRegisters(F32x16 x) { return x; }
inline F32x16 InOneRegister(float x) { return Set1(x); }
#endif

// sums[i] = ReduceAdd(a[i]) for four, in a third of the operations.
inline void ReduceAddFour(const F32x16 (&a)[4], float* sums) {
#if defined(__AVX2__) && defined(__FMA__)
  __m128 folded[4];
  for (int i = 0; i < 4; ++i) folded[i] = FoldToFour(a[i]);
  // Two rows in a vector, lanes 0 and 1 of each against lanes 2 and 3.
  const __m128 first =
      _mm_add_ps(_mm_movelh_ps(folded[0], folded[1]), _mm_movehl_ps(folded[1], folded[0]));
  const __m128 second =
      _mm_add_ps(_mm_movelh_ps(folded[2], folded[3]), _mm_movehl_ps(folded[3], folded[2]));
  _mm_storeu_ps(
      sums, _mm_add_ps(_mm_shuffle_ps(first, second, 0x88), _mm_shuffle_ps(first, second, 0xdd)));
#else
  for (int i = 0; i < 4; ++i) sums[i] = ReduceAdd(a[i]);
#endif
}

// e^x, relative error below 2e-7. 0 for x < -87; x above 88 is taken as 88; NaN stays NaN.
// 2^n * P(r) with n = round(x / ln 2): P is 1 + r + r^2 q(r), q a minimax polynomial of degree 4.
inline F32x16 Exp(F32x16 x) {
  const F32x16 clamped = Min(Set1(88.0f), x);
  const F32x16 n = Round(Mul(clamped, Set1(1.44269504f)));
  // ln 2 in two parts, the first with 10 bits, so that n * first is exact.
  F32x16 r = Fma(n, Set1(-0.693359375f), clamped);
  r = Fma(n, Set1(2.12194440e-4f), r);
  F32x16 q = Set1(0x1.6a2430p-10f);
  q = Fma(q, r, Set1(0x1.1239e4p-7f));
  q = Fma(q, r, Set1(0x1.5558f2p-5f));
  q = Fma(q, r, Set1(0x1.555492p-3f));
  q = Fma(q, r, Set1(0x1.fffffcp-2f));
  const F32x16 p = Add(Fma(q, Mul(r, r), r), Set1(1.0f));
  return ZeroWhereLess(x, Set1(-87.0f), ScaleByPow2(p, n));
}

}  // namespace SKV_LANES_NAMESPACE
}  // namespace skv::kernels
