#pragma once
// How the float32 sums of segments become double totals (docs/arithmetic.md): each is rounded to a
// multiple of 2^-34, so that totals below 2^17 are exact and their bits know no order. One
// arithmetic on every instruction set, in its namespace as in f32x16.h.

#include "kernels/cpu/f32x16.h"

namespace skv::kernels {

// What a total begins with, to be taken away at its end: doubles between 2^18 and 2^19 are 2^-34
// apart, so every addition in between rounds to that.
inline constexpr double kTotalBias = 0x1.8p18;
// A sum halfway between two multiples would go to the even total, whichever that is by then. Made
// larger by less than half of 2^-34 it goes away from zero.
inline constexpr double kTieBreaker = 1 + 0x1p-52;

inline namespace SKV_LANES_NAMESPACE {

// Sixteen totals: EmptyTotals, then AddSegment for each segment's 16 sums, then StoreTotals.
#if defined(__AVX512F__)

struct F64x16 {
  __m512d lo, hi;
};

inline F64x16 EmptyTotals() { return {_mm512_set1_pd(kTotalBias), _mm512_set1_pd(kTotalBias)}; }
inline F64x16 AddSegment(F64x16 totals, const float* sums) {
  const __m512d factor = _mm512_set1_pd(kTieBreaker);
  return {_mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(sums)), factor, totals.lo),
          _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(sums + 8)), factor, totals.hi)};
}
inline void StoreTotals(double* p, F64x16 totals) {
  const __m512d bias = _mm512_set1_pd(kTotalBias);
  _mm512_storeu_pd(p, _mm512_sub_pd(totals.lo, bias));
  _mm512_storeu_pd(p + 8, _mm512_sub_pd(totals.hi, bias));
}

#elif defined(__AVX2__) && defined(__FMA__)

struct F64x16 {
  __m256d v[4];
};

inline F64x16 EmptyTotals() {
  const __m256d bias = _mm256_set1_pd(kTotalBias);
  return {{bias, bias, bias, bias}};
}
inline F64x16 AddSegment(F64x16 totals, const float* sums) {
  const __m256d factor = _mm256_set1_pd(kTieBreaker);
  for (int i = 0; i < 4; ++i) {
    const __m256d wide = _mm256_cvtps_pd(_mm_loadu_ps(sums + 4 * i));
    totals.v[i] = _mm256_fmadd_pd(wide, factor, totals.v[i]);
  }
  return totals;
}
inline void StoreTotals(double* p, F64x16 totals) {
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_pd(p + 4 * i, _mm256_sub_pd(totals.v[i], _mm256_set1_pd(kTotalBias)));
  }
}

#endif

}  // namespace SKV_LANES_NAMESPACE
}  // namespace skv::kernels
