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

// Keys at a time: their chains hide the latency of an FMA, and one fold serves them all.
constexpr int kScoredKeys = 4;

// sums[i] = query . row i of rows [kScoredKeys, head_dim].
inline void ScoreFour(const float* query, int head_dim, const float* rows, float* sums) {
  F32x16 lanes[kScoredKeys] = {Zero(), Zero(), Zero(), Zero()};
  for (int c = 0; c < head_dim; c += kLanes) {
    const F32x16 q = Load(query + c);
    for (int i = 0; i < kScoredKeys; ++i) {
      lanes[i] = Fma(q, Load(rows + i * head_dim + c), lanes[i]);
    }
  }
  ReduceAddFour(lanes, sums);
}

void ScoreKeyRows(const float* queries, int num_queries, int head_dim, const GroupRows& rows,
                  int num_keys, const GroupRows* next, float* scores, int64_t score_stride) {
  float wide[kScoredKeys * kMaxHeadDim];
  for (int i = 0; i < num_keys; i += kScoredKeys) {
    for (int j = 0; j < kScoredKeys; ++j) {
      for (int c = 0; c < head_dim; c += 2 * kLanes) {
        if (next != nullptr) __builtin_prefetch(next->k[i + j] + c, 0, 2);
        Store(wide + j * head_dim + c, LoadBf16(rows.k[i + j] + c));
        Store(wide + j * head_dim + c + kLanes, LoadBf16(rows.k[i + j] + c + kLanes));
      }
    }
    const int n = std::min(kScoredKeys, num_keys - i);
    for (int r = 0; r < num_queries; ++r) {
      float sums[kScoredKeys];
      ScoreFour(queries + int64_t{r} * head_dim, head_dim, wide, sums);
      std::copy_n(sums, n, scores + r * score_stride + i);
    }
  }
}

}  // namespace
}  // namespace skv::kernels
