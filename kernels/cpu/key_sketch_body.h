#pragma once
// Scores of sketches in lanes of keys. Included by one file per vector instruction set. The codes
// of a tile of keys, wherever they lie, are transposed once for all queries: no dot needs a fold.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/key_sketch_kernels.h"
#include "kernels/cpu/key_sketch_lanes.h"

namespace skv::kernels {
namespace {

// The rows of the runs in order, a tile at a time. Asks for a row's bytes when it hands it out.
class RowCursor {
 public:
  RowCursor(const SketchRun* runs, int num_runs, int head_dim)
      : run_(runs), end_(runs + num_runs), row_bytes_(KeySketchBytes(head_dim)) {
    for (int i = 0; i < kTileKeys; ++i) offsets_[i] = i * row_bytes_;
  }

  // Hands out up to kTileKeys rows, in rows[kTileKeys] of 2 * kTileKeys; returns how many. Others
  // of the tile are the last one again. Nothing is written where none are left.
  int Take(const std::byte** rows) {
    int taken = 0;
    while (taken < kTileKeys) {
      if (left_ == 0 && !EnterRun()) break;
      // All at once: a loop as long as the run would be mispredicted at the end of each.
      for (int i = 0; i < kTileKeys; ++i) rows[taken + i] = row_ + offsets_[i];
      const int n = std::min(left_, kTileKeys - taken);
      row_ += n * row_bytes_;
      left_ -= n;
      taken += n;
    }
    if (taken == 0) return 0;
    for (int i = taken; i < kTileKeys; ++i) rows[i] = rows[taken - 1];
    // Every 64th byte back from a row's last one. The line of its first byte is among them or holds
    // the last byte of the row before, or is that which EnterRun asks for.
    for (size_t at = 0; at < row_bytes_; at += 64) {
      for (int i = 0; i < kTileKeys; ++i) __builtin_prefetch(rows[i] + row_bytes_ - 1 - at);
    }
    return taken;
  }

 private:
  bool EnterRun() {
    for (; run_ != end_; ++run_) {
      if (run_->num_keys == 0) continue;
      row_ = run_->sketches;
      left_ = run_->num_keys;
      ++run_;
      __builtin_prefetch(row_);
      return true;
    }
    return false;
  }

  const SketchRun* run_;
  const SketchRun* const end_;
  const size_t row_bytes_;
  size_t offsets_[kTileKeys];  // of rows that follow each other
  const std::byte* row_ = nullptr;
  int left_ = 0;  // rows of the run from row_ on
};

// The same rows, as the compiler cannot know: it would keep sixteen pointers in registers that the
// dots need.
inline const std::byte* const* Reread(const std::byte* const* rows) {
  asm("" : "+r"(rows));
  return rows;
}

template <int kQueries>
void ScoreTile(const std::byte* queries, int num_chunks, const std::byte* const* rows, int num_keys,
               float* scores, int64_t score_stride) {
  const size_t query_stride = SketchQueryStride(num_chunks * kSketchChannels);
  Words dots[kQueries][2];  // of low and high nibbles: two chains a query
  for (auto& of_query : dots) of_query[0] = of_query[1] = ZeroWords();
  int chunk = 0;
  do {
    Words words[kCodeWords], codes[kCodeWords];
    rows = Reread(rows);
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
  } while (++chunk < num_chunks);
  const Words scales = LastWords(Reread(rows), KeySketchBytes(num_chunks * kSketchChannels));
  const Floats step = LowBf16(scales), minimum = HighBf16(scales);
  for (int r = 0; r < kQueries; ++r) {
    SketchQueryScale of_query;
    std::memcpy(&of_query, queries + (r + 1) * query_stride - sizeof(of_query), sizeof(of_query));
    const Floats dot = ToFloats(AddWords(dots[r][0], dots[r][1]));
    const Floats sum = Fma(step, dot, Mul(minimum, SetFloats(of_query.sum)));
    StoreFirst(scores + r * score_stride, Mul(SetFloats(of_query.scale), sum), num_keys);
  }
}

void ScoreRuns(const std::byte* packed, int num_queries, int head_dim, const SketchRun* runs,
               int num_runs, float* scores, int64_t score_stride) {
  constexpr decltype(&ScoreTile<1>) kScore[] = {nullptr, ScoreTile<1>, ScoreTile<2>, ScoreTile<3>,
                                                ScoreTile<4>};
  constexpr int kMostQueries = 4;
  constexpr int kAhead = 128 / kTileKeys;  // tiles that are asked for before they are scored
  constexpr int kTiles = 2 * kAhead;
  const std::byte* rows[(kTiles + 1) * kTileKeys];
  int counts[kTiles];
  RowCursor cursor(runs, num_runs, head_dim);
  const auto take = [&](int tile) { counts[tile] = cursor.Take(rows + tile * kTileKeys); };
  for (int tile = 0; tile < kAhead; ++tile) take(tile);
  for (int tile = 0; counts[tile] != 0; tile = (tile + 1) % kTiles) {
    take((tile + kAhead) % kTiles);
    for (int r = 0; r < num_queries; r += kMostQueries) {
      kScore[std::min(kMostQueries, num_queries - r)](
          packed + r * SketchQueryStride(head_dim), SketchChunks(head_dim), rows + tile * kTileKeys,
          counts[tile], scores + r * score_stride, score_stride);
    }
    scores += counts[tile];
  }
}

}  // namespace
}  // namespace skv::kernels
