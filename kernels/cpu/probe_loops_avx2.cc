#include <immintrin.h>

#include "kernels/cpu/probe_loops.h"

namespace skv::kernels {
namespace {

constexpr int kChains = 12;  // covers 4..5 cycles of latency on two ports

}  // namespace

int64_t RunF32LoopAvx2(int64_t iterations) {
  __m256 acc[kChains];
  for (auto& lane : acc) lane = _mm256_setzero_ps();
  __m256 x = _mm256_set1_ps(0.5f);
  for (int64_t i = 0; i < iterations; ++i) {
    asm volatile("" : "+x"(x));
#pragma GCC unroll 16
    for (auto& lane : acc) lane = _mm256_fmadd_ps(x, x, lane);
  }
  for (auto& lane : acc) asm volatile("" : : "x"(lane));
  return iterations * kChains * 16;
}

int64_t RunInt8LoopAvx2(int64_t iterations) {
  __m256i acc[kChains];
  for (auto& lane : acc) lane = _mm256_setzero_si256();
  __m256i u = _mm256_set1_epi8(3);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 16
    for (auto& lane : acc) {
      asm volatile("" : "+x"(u));
      lane = _mm256_add_epi32(lane, _mm256_madd_epi16(_mm256_maddubs_epi16(u, u), ones));
    }
  }
  for (auto& lane : acc) asm volatile("" : : "x"(lane));
  return iterations * kChains * 64;
}

int64_t ReadAll(const std::byte* data, size_t bytes) {
  __m256i sum[4];
  for (auto& lane : sum) lane = _mm256_setzero_si256();
  for (size_t i = 0; i < bytes; i += 512) {
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) {
      const auto* p = reinterpret_cast<const __m256i*>(data + i + 32 * j);
      sum[j % 4] = _mm256_xor_si256(sum[j % 4], _mm256_loadu_si256(p));
    }
    _mm_prefetch(reinterpret_cast<const char*>(data + i + 4096), _MM_HINT_T0);
  }
  const __m256i all =
      _mm256_xor_si256(_mm256_xor_si256(sum[0], sum[1]), _mm256_xor_si256(sum[2], sum[3]));
  return _mm256_extract_epi64(all, 0) ^ _mm256_extract_epi64(all, 1) ^
         _mm256_extract_epi64(all, 2) ^ _mm256_extract_epi64(all, 3);
}

}  // namespace skv::kernels
