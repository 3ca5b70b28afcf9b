#pragma once
// Scores of keys against float32 queries, for selection. Included by attention_kernel.h, hence once
// for each instruction set.

#include <algorithm>
#include <cstdint>

#include "kernels/attention.h"
#include "kernels/cpu/attention_paths.h"
#include "kernels/cpu/bf16_pairs.h"
#include "kernels/cpu/f32x16.h"

namespace skv::kernels {
namespace {

// Keys of which one fold serves all.
constexpr int kScoredKeys = 4;

// lanes[r][first + i] gather query r . row i of two; the queries' chains hide the latency of an
// FMA.
template <int kQueries>
inline void ScoreTwo(const float* queries, int head_dim, const Bf16* const* rows, int first,
                     F32x16 (*lanes)[kScoredKeys]) {
  F32x16 acc[kQueries][2];
  for (auto& of_query : acc) of_query[0] = of_query[1] = Zero();
  for (int c = 0; c < head_dim; c += kLanes) {
    const F32x16 a = InRegisters(LoadBf16(rows[0] + c));
    const F32x16 b = InRegisters(LoadBf16(rows[1] + c));
    for (int r = 0; r < kQueries; ++r) {
      const F32x16 q = Load(queries + r * head_dim + c);
      acc[r][0] = Fma(q, a, acc[r][0]);
      acc[r][1] = Fma(q, b, acc[r][1]);
    }
  }
  for (int r = 0; r < kQueries; ++r) {
    lanes[r][first] = acc[r][0];
    lanes[r][first + 1] = acc[r][1];
  }
}

template <int kQueries>
void ScoreQueries(const float* queries, int head_dim, const GroupRows& rows, int num_keys,
                  const GroupRows* next, float* scores, int64_t score_stride) {
  for (int i = 0; i < num_keys; i += kScoredKeys) {
    for (int j = 0; next != nullptr && j < kScoredKeys; ++j) {
      for (int c = 0; c < head_dim; c += 2 * kLanes) __builtin_prefetch(next->k[i + j] + c, 0, 2);
    }
    F32x16 lanes[kQueries][kScoredKeys];
    for (int half = 0; half < kScoredKeys; half += 2) {
      ScoreTwo<kQueries>(queries, head_dim, rows.k + i + half, half, lanes);
    }
    const int n = std::min(kScoredKeys, num_keys - i);
    for (int r = 0; r < kQueries; ++r) {
      float sums[kScoredKeys];
      ReduceAddFour(lanes[r], sums);
      std::copy_n(sums, n, scores + r * score_stride + i);
    }
  }
}

void ScoreKeyRows(const float* queries, int num_queries, int head_dim, const GroupRows& rows,
                  int num_keys, const GroupRows* next, float* scores, int64_t score_stride) {
  constexpr decltype(&ScoreQueries<1>) kScore[] = {nullptr, ScoreQueries<1>, ScoreQueries<2>,
                                                   ScoreQueries<3>};
  while (num_queries > 0) {
    const int tile = std::min(num_queries, 3);
    kScore[tile](queries, head_dim, rows, num_keys, next, scores, score_stride);
    queries += int64_t{tile} * head_dim;
    scores += tile * score_stride;
    num_queries -= tile;
    next = nullptr;  // asked for by the first tile
  }
}

}  // namespace
}  // namespace skv::kernels
