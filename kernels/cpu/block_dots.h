#pragma once
// The integer part of a tile's products: exact dots of one block of quants with the values of the
// rows (docs/arithmetic.md). Included by matmul_body.h alone. With AVX-512 VNNI values are two
// planes of bytes, whose dots are taken by themselves; with AVX2, which has no such instruction,
// 16-bit words (packed_format.h).
//
// The includer defines before: for AVX-512 kOnePassAccumulators, the panels * rows up to which a
// tile holds the dots of both planes.

#include <cstddef>

#include "kernels/cpu/dot_lanes.h"
#include "kernels/cpu/packed_format.h"

namespace skv::kernels {
namespace {

// Loops over a tile's registers are unrolled whole; not where every access is checked: GCC would
// take ten minutes for a file.
#ifdef __SANITIZE_ADDRESS__
constexpr int kUnroll = 1;
#else
constexpr int kUnroll = 16;
#endif

// Bytes that the weight stream is fetched ahead.
constexpr int kPrefetchBytes = 1024;

template <int kPanels, int kRows>
struct Dots {
  I32x16 of[kPanels][kRows];
};

template <int kPanels, int kRows>
inline void Clear(Dots<kPanels, kRows>& dots) {
  for (auto& panel : dots.of) {
    for (I32x16& lanes : panel) lanes = ZeroI32();
  }
}

#if defined(__AVX512F__)

// Adds to planes[i] the exact dots of one block's quants with plane i of the rows' blocks at q.
template <PackedFormat kFormat, int kPanels, int kRows, int kPlanes>
inline void DotBlock(const std::byte* quants, size_t panel_bytes, const std::byte* q,
                     size_t row_stride, Dots<kPanels, kRows> (&planes)[kPlanes]) {
  constexpr int kStep = kFormat.bits == 4 ? 8 : 4;
#pragma GCC unroll kUnroll
  for (int k = 0; k < kFormat.block_elements; k += kStep) {
    Bytes64 u[kStep / 4][kPanels];
#pragma GCC unroll kUnroll
    for (int p = 0; p < kPanels; ++p) {
      const std::byte* chunk = quants + p * panel_bytes + k / kStep * 64;
      __builtin_prefetch(chunk + kPrefetchBytes);
      u[0][p] = LoadBytes(chunk);
      if constexpr (kFormat.bits == 4) {
        u[1][p] = HighNibbles(u[0][p]);
        u[0][p] = LowNibbles(u[0][p]);
      }
    }
#pragma GCC unroll kUnroll
    for (int half = 0; half < kStep / 4; ++half) {
#pragma GCC unroll kUnroll
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll kUnroll
        for (int plane = 0; plane < kPlanes; ++plane) {
          const std::byte* bytes = q + plane * kFormat.block_elements + k + 4 * half;
          const Bytes64 a = BroadcastFour(bytes + r * row_stride);
#pragma GCC unroll kUnroll
          for (int p = 0; p < kPanels; ++p) {
            I32x16& dot = planes[plane].of[p][r];
            dot = DotAdd<kFormat.bits>(dot, u[half][p], a);
          }
        }
      }
    }
  }
}

// 256 * dot of the high plane + dot of the low plane. Small tiles hold accumulators for both and
// unpack the quants once; large ones have no registers for that and take one plane after the other.
template <PackedFormat kFormat, int kPanels, int kRows>
inline Dots<kPanels, kRows> BlockDots(const std::byte* quants, size_t panel_bytes,
                                      const std::byte* q, size_t row_stride) {
  constexpr bool kOnePass = kPanels * kRows <= kOnePassAccumulators;
  Dots<kPanels, kRows> planes[kOnePass ? 2 : 1];
  for (auto& plane : planes) Clear(plane);
  DotBlock<kFormat>(quants, panel_bytes, q, row_stride, planes);
#pragma GCC unroll kUnroll
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll kUnroll
    for (int r = 0; r < kRows; ++r) {
      I32x16& dot = planes[0].of[p][r];
      dot = Times256(dot);
      if constexpr (kOnePass) dot = Add(dot, planes[1].of[p][r]);
    }
  }
  if constexpr (!kOnePass) {
    DotBlock<kFormat>(quants, panel_bytes, q + kFormat.block_elements, row_stride, planes);
  }
  return planes[0];
}

#else

// Adds the dots with pair I of the values of a chunk's elements.
template <int kBits, int I, int kPanels, int kRows>
inline void AddPairDots(const Bytes64 (&chunks)[kPanels], const std::byte* values,
                        size_t row_stride, Dots<kPanels, kRows>& dots) {
#pragma GCC unroll kUnroll
  for (int p = 0; p < kPanels; ++p) {
    const Words32 u = QuantPair<kBits, I>(chunks[p]);
#pragma GCC unroll kUnroll
    for (int r = 0; r < kRows; ++r) {
      const Words32 v = BroadcastPair(values + r * row_stride + 4 * I);
      dots.of[p][r] = PairDotAdd(dots.of[p][r], u, v);
    }
  }
}

// The exact dots of one block's quants with the rows' values, 16-bit words.
template <PackedFormat kFormat, int kPanels, int kRows>
inline Dots<kPanels, kRows> BlockDots(const std::byte* quants, size_t panel_bytes,
                                      const std::byte* values, size_t row_stride) {
  constexpr int kStep = kFormat.bits == 4 ? 8 : 4;
  Dots<kPanels, kRows> dots;
  Clear(dots);
  // Rolled: GCC would load for the whole block beforehand and run out of registers.
#pragma GCC unroll 1
  for (int k = 0; k < kFormat.block_elements; k += kStep) {
    Bytes64 chunks[kPanels];
#pragma GCC unroll kUnroll
    for (int p = 0; p < kPanels; ++p) {
      const std::byte* chunk = quants + p * panel_bytes + k / kStep * 64;
      __builtin_prefetch(chunk + kPrefetchBytes);
      chunks[p] = LoadBytes(chunk);
    }
    const std::byte* const at = values + 2 * k;
    AddPairDots<kFormat.bits, 0>(chunks, at, row_stride, dots);
    AddPairDots<kFormat.bits, 1>(chunks, at, row_stride, dots);
    if constexpr (kFormat.bits == 4) {
      AddPairDots<kFormat.bits, 2>(chunks, at, row_stride, dots);
      AddPairDots<kFormat.bits, 3>(chunks, at, row_stride, dots);
    }
  }
  return dots;
}

#endif

}  // namespace
}  // namespace skv::kernels
