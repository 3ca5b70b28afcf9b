#pragma once
// Integer lanes for sketches of keys, one key a lane; the vocabulary of key_sketch_body.h. Vector
// instruction sets only: AVX-512 with VNNI, or AVX2.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/key_sketch_kernels.h"

namespace skv::kernels {
namespace {

// Words of the codes of one chunk.
constexpr int kCodeWords = kSketchCodeBytes / 4;

#if defined(__AVX512VNNI__)

constexpr int kTileKeys = 16;
using Words = __m512i;
using Floats = __m512;

inline Words ZeroWords() { return _mm512_setzero_si512(); }
inline Words AddWords(Words a, Words b) { return _mm512_add_epi32(a, b); }
inline Words LowNibbles(Words a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
inline Words HighNibbles(Words a) { return LowNibbles(_mm512_srli_epi16(a, 4)); }

// acc + the dots of the codes of a chunk's half with its int8 channels at q.
inline Words AddDots(const Words (&codes)[kCodeWords], const std::byte* q, Words acc) {
  for (int j = 0; j < kCodeWords; ++j) {
    int32_t four;
    std::memcpy(&four, q + 4 * j, sizeof(four));
    acc = _mm512_dpbusd_epi32(acc, codes[j], _mm512_set1_epi32(four));
  }
  return acc;
}

inline Floats SetFloats(float x) { return _mm512_set1_ps(x); }
inline Floats ToFloats(Words a) { return _mm512_cvtepi32_ps(a); }
inline Floats LowBf16(Words a) { return _mm512_castsi512_ps(_mm512_slli_epi32(a, 16)); }
inline Floats HighBf16(Words a) {
  return _mm512_castsi512_ps(_mm512_and_si512(a, _mm512_set1_epi32(-65536)));
}
inline Floats Mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Floats Fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline void StoreFirst(float* p, Floats a, int n) {
  if (n >= kTileKeys) {
    _mm512_storeu_ps(p, a);
  } else {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), a);
  }
}

// words[j] = bytes 4 j .. 4 j + 3 at `offset` of each row.
inline void TransposeCodes(const std::byte* const* rows, size_t offset,
                           Words (&words)[kCodeWords]) {
  __m512i pieces[2][4];
  for (int g = 0; g < 2; ++g) {
    // Rows i and i + 4 of eight; of two times four words each, one in a 128-bit lane.
    __m512i a[4], b[4];
    for (int i = 0; i < 4; ++i) {
      const auto load = [&](int row) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[8 * g + row] + offset));
      };
      a[i] = _mm512_mask_broadcast_i64x4(_mm512_castsi256_si512(load(i)), 0xf0, load(i + 4));
    }
    for (int i = 0; i < 4; i += 2) {
      b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
      b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    for (int i = 0; i < 2; ++i) {
      pieces[g][2 * i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
      pieces[g][2 * i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    }
  }
  for (int j = 0; j < 4; ++j) {
    words[j] = _mm512_shuffle_i32x4(pieces[0][j], pieces[1][j], 0x88);
    words[4 + j] = _mm512_shuffle_i32x4(pieces[0][j], pieces[1][j], 0xdd);
  }
}

// The last word of each row that ends at `end`.
inline Words LastWords(const std::byte* const* rows, size_t end) {
  __m512i a[4];  // rows i, i + 4, i + 8 and i + 12, the last four words of one in a 128-bit lane
  for (int i = 0; i < 4; ++i) {
    const auto load = [&](int row) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[row] + end - sizeof(__m128i)));
    };
    a[i] = _mm512_castsi128_si512(load(i));
    a[i] = _mm512_mask_broadcast_i32x4(a[i], 0x00f0, load(i + 4));
    a[i] = _mm512_mask_broadcast_i32x4(a[i], 0x0f00, load(i + 8));
    a[i] = _mm512_mask_broadcast_i32x4(a[i], 0xf000, load(i + 12));
  }
  return _mm512_unpackhi_epi64(_mm512_unpackhi_epi32(a[0], a[1]),
                               _mm512_unpackhi_epi32(a[2], a[3]));
}

#else

constexpr int kTileKeys = 8;
using Words = __m256i;
using Floats = __m256;

inline Words ZeroWords() { return _mm256_setzero_si256(); }
inline Words AddWords(Words a, Words b) { return _mm256_add_epi32(a, b); }
inline Words LowNibbles(Words a) { return _mm256_and_si256(a, _mm256_set1_epi8(15)); }
inline Words HighNibbles(Words a) { return LowNibbles(_mm256_srli_epi16(a, 4)); }

inline Words AddDots(const Words (&codes)[kCodeWords], const std::byte* q, Words acc) {
  static_assert(kCodeWords * 2 * 15 * 127 < 1 << 15, "sums of pairs must fit int16");
  __m256i pairs = _mm256_setzero_si256();
  for (int j = 0; j < kCodeWords; ++j) {
    int32_t four;
    std::memcpy(&four, q + 4 * j, sizeof(four));
    pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(codes[j], _mm256_set1_epi32(four)));
  }
  return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

inline Floats SetFloats(float x) { return _mm256_set1_ps(x); }
inline Floats ToFloats(Words a) { return _mm256_cvtepi32_ps(a); }
inline Floats LowBf16(Words a) { return _mm256_castsi256_ps(_mm256_slli_epi32(a, 16)); }
inline Floats HighBf16(Words a) {
  return _mm256_castsi256_ps(_mm256_and_si256(a, _mm256_set1_epi32(-65536)));
}
inline Floats Mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
inline Floats Fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline void StoreFirst(float* p, Floats a, int n) {
  if (n >= kTileKeys) {
    _mm256_storeu_ps(p, a);
  } else {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane), a);
  }
}

inline void TransposeCodes(const std::byte* const* rows, size_t offset,
                           Words (&words)[kCodeWords]) {
  for (int half = 0; half < 2; ++half) {
    // Four words of rows i and i + 4, one row in a 128-bit lane.
    __m256i a[4], b[4];
    for (int i = 0; i < 4; ++i) {
      const auto load = [&](int row) {
        return _mm_loadu_si128(
            reinterpret_cast<const __m128i*>(rows[row] + offset + half * sizeof(__m128i)));
      };
      a[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(load(i)), load(i + 4), 1);
    }
    for (int i = 0; i < 4; i += 2) {
      b[i] = _mm256_unpacklo_epi32(a[i], a[i + 1]);
      b[i + 1] = _mm256_unpackhi_epi32(a[i], a[i + 1]);
    }
    for (int i = 0; i < 2; ++i) {
      words[4 * half + 2 * i] = _mm256_unpacklo_epi64(b[i], b[i + 2]);
      words[4 * half + 2 * i + 1] = _mm256_unpackhi_epi64(b[i], b[i + 2]);
    }
  }
}

inline Words LastWords(const std::byte* const* rows, size_t end) {
  int32_t words[kTileKeys];
  for (int i = 0; i < kTileKeys; ++i)
    std::memcpy(&words[i], rows[i] + end - sizeof(int32_t), sizeof(int32_t));
  return _mm256_setr_epi32(words[0], words[1], words[2], words[3], words[4], words[5], words[6],
                           words[7]);
}

#endif

}  // namespace
}  // namespace skv::kernels
