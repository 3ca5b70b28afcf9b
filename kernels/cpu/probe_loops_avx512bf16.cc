#include <immintrin.h>

#include "kernels/cpu/probe_loops.h"

namespace skv::kernels {
namespace {

constexpr int kChains = 16;

}  // namespace

int64_t RunF32LoopAvx512(int64_t iterations) {
  __m512 acc[kChains];
  for (auto& lane : acc) lane = _mm512_setzero_ps();
  __m512 x = _mm512_set1_ps(0.5f);
  for (int64_t i = 0; i < iterations; ++i) {
    asm volatile("" : "+v"(x));
#pragma GCC unroll 16
    for (auto& lane : acc) lane = _mm512_fmadd_ps(x, x, lane);
  }
  for (auto& lane : acc) asm volatile("" : : "v"(lane));
  return iterations * kChains * 32;
}

int64_t RunInt8LoopAvx512Vnni(int64_t iterations) {
  __m512i acc[kChains];
  for (auto& lane : acc) lane = _mm512_setzero_si512();
  __m512i u = _mm512_set1_epi8(3);
  for (int64_t i = 0; i < iterations; ++i) {
    asm volatile("" : "+v"(u));
#pragma GCC unroll 16
    for (auto& lane : acc) lane = _mm512_dpbusd_epi32(lane, u, u);
  }
  for (auto& lane : acc) asm volatile("" : : "v"(lane));
  return iterations * kChains * 128;
}

int64_t RunBf16LoopAvx512Bf16(int64_t iterations) {
  __m512 acc[kChains];
  for (auto& lane : acc) lane = _mm512_setzero_ps();
  __m512i x = _mm512_set1_epi16(0x3f00);
  for (int64_t i = 0; i < iterations; ++i) {
    asm volatile("" : "+v"(x));
#pragma GCC unroll 16
    for (auto& lane : acc) lane = _mm512_dpbf16_ps(lane, (__m512bh)x, (__m512bh)x);
  }
  for (auto& lane : acc) asm volatile("" : : "v"(lane));
  return iterations * kChains * 64;
}

}  // namespace skv::kernels
