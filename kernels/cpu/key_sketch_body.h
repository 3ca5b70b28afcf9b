#pragma once
// Scores of sketches in lanes of keys. Included by one file per vector instruction set. The codes
// of a tile of keys are transposed once for all queries, so that no dot needs a fold.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/key_sketch_kernels.h"
#include "kernels/cpu/key_sketch_lanes.h"

namespace skv::kernels {
namespace {

static_assert(kSketchTile % kTileKeys == 0);

template <int kQueries>
void ScoreTile(const std::byte* queries, int num_chunks, const std::byte* const* rows, int num_keys,
               float* scores, int64_t score_stride) {
  const size_t query_stride = SketchQueryStride(num_chunks * kSketchChannels);
  Words dots[kQueries][2];  // of low and high nibbles: two chains a query
  for (auto& of_query : dots) of_query[0] = of_query[1] = ZeroWords();
  for (int chunk = 0; chunk < num_chunks; ++chunk) {
    Words words[kCodeWords], codes[kCodeWords];
    TransposeCodes(rows, size_t(chunk) * kSketchCodeBytes, words);
    const std::byte* const q = queries + chunk * kSketchChannels;
    for (int j = 0; j < kCodeWords; ++j) codes[j] = LowNibbles(words[j]);
    for (int r = 0; r < kQueries; ++r) {
      dots[r][0] = AddDots(codes, q + r * query_stride, dots[r][0]);
    }
    for (int j = 0; j < kCodeWords; ++j) codes[j] = HighNibbles(words[j]);
    for (int r = 0; r < kQueries; ++r) {
      dots[r][1] = AddDots(codes, q + r * query_stride + kSketchCodeBytes, dots[r][1]);
    }
  }
  const Words scales = GatherWords(rows, size_t(num_chunks) * kSketchCodeBytes);
  const Floats step = LowBf16(scales), minimum = HighBf16(scales);
  for (int r = 0; r < kQueries; ++r) {
    SketchQueryScale of_query;
    std::memcpy(&of_query, queries + (r + 1) * query_stride - sizeof(of_query), sizeof(of_query));
    const Floats dot = ToFloats(AddWords(dots[r][0], dots[r][1]));
    const Floats sum = Fma(step, dot, Mul(minimum, SetFloats(of_query.sum)));
    StoreFirst(scores + r * score_stride, Mul(SetFloats(of_query.scale), sum), num_keys);
  }
}

// Asks for the first and the last line of each row and what lies between.
void PrefetchTile(const std::byte* const* rows, size_t row_bytes) {
  for (int i = 0; i < kTileKeys; ++i) {
    for (size_t at = 0; at < row_bytes - 1; at += 64) __builtin_prefetch(rows[i] + at);
    __builtin_prefetch(rows[i] + row_bytes - 1);
  }
}

void ScoreRows(const std::byte* packed, int num_queries, int head_dim, const SketchRows& rows,
               const SketchRows* next, float* scores, int64_t score_stride) {
  constexpr decltype(&ScoreTile<1>) kScore[] = {nullptr, ScoreTile<1>, ScoreTile<2>, ScoreTile<3>,
                                                ScoreTile<4>};
  constexpr int kMostQueries = 4;
  const size_t query_stride = SketchQueryStride(head_dim);
  for (int i = 0; i < rows.count; i += kTileKeys) {
    if (next != nullptr && i < next->count) PrefetchTile(next->row + i, KeySketchBytes(head_dim));
    for (int r = 0; r < num_queries; r += kMostQueries) {
      kScore[std::min(kMostQueries, num_queries - r)](
          packed + r * query_stride, SketchChunks(head_dim), rows.row + i, rows.count - i,
          scores + r * score_stride + i, score_stride);
    }
  }
}

}  // namespace
}  // namespace skv::kernels
