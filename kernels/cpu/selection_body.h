#pragma once
// The selection operations in 16 lanes. Included by one file per instruction set, which exports the
// functions of its unnamed namespace as a table.

#include <algorithm>
#include <bit>
#include <cstdint>

#include "kernels/cpu/bf16_pairs.h"
#include "kernels/cpu/f32x16.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/selection_kernels.h"
#include "kernels/selection.h"

namespace skv::kernels {
namespace {

static_assert(kIndexBlockVectors == kLanes);

// kQueries queries against kBlocks blocks: that many chains at once hide the latency of an FMA.
template <int kQueries, int kBlocks>
void ScoreTile(const float* queries, int64_t query_stride, int width, const uint32_t* index,
               int num_vectors, float* scores, int64_t score_stride) {
  const int64_t block_words = int64_t{width / 2} * kLanes;
  F32x16 acc[kQueries][kBlocks];
  for (auto& row : acc) {
    for (F32x16& chain : row) chain = Zero();
  }
  for (int pair = 0; pair < width / 2; ++pair) {
    F32x16 even[kBlocks], odd[kBlocks];
    for (int b = 0; b < kBlocks; ++b) {
      const Pairs16 words = LoadPairs(index + b * block_words + int64_t{pair} * kLanes);
      even[b] = EvenToFloat(words);
      odd[b] = OddToFloat(words);
    }
    for (int r = 0; r < kQueries; ++r) {
      const float* const q = queries + r * query_stride + 2 * pair;
      for (int b = 0; b < kBlocks; ++b) acc[r][b] = Fma(Set1(q[0]), even[b], acc[r][b]);
      for (int b = 0; b < kBlocks; ++b) acc[r][b] = Fma(Set1(q[1]), odd[b], acc[r][b]);
    }
  }
  for (int r = 0; r < kQueries; ++r) {
    for (int b = 0; b < kBlocks; ++b) {
      float* const out = scores + r * score_stride + b * kLanes;
      const int n = num_vectors - b * kLanes;
      if (n >= kLanes) {
        Store(out, acc[r][b]);
      } else {
        StorePartial(out, acc[r][b], n);
      }
    }
  }
}

#if defined(__AVX512F__)
constexpr int kRegisterTile = 8;  // chains that fit into the registers
#else
constexpr int kRegisterTile = 4;
#endif

template <int kQueries>
void ScoreQueries(const float* queries, int64_t query_stride, int width, const uint32_t* index,
                  int num_vectors, float* scores, int64_t score_stride) {
  const int64_t block_words = int64_t{width / 2} * kLanes;
  constexpr int kBlocks = kQueries * 2 <= kRegisterTile ? 2 : 1;
  int i = 0;
  for (; i + (kBlocks - 1) * kLanes < num_vectors; i += kBlocks * kLanes) {
    ScoreTile<kQueries, kBlocks>(queries, query_stride, width, index + i / kLanes * block_words,
                                 num_vectors - i, scores + i, score_stride);
  }
  if (i < num_vectors) {
    ScoreTile<kQueries, 1>(queries, query_stride, width, index + i / kLanes * block_words,
                           num_vectors - i, scores + i, score_stride);
  }
}

void ScoreVectorsBody(const float* queries, int64_t query_stride, int num_queries, int width,
                      const uint32_t* index, int num_vectors, float* scores, int64_t score_stride) {
  constexpr decltype(&ScoreQueries<1>) kScore[] = {nullptr, ScoreQueries<1>, ScoreQueries<2>,
                                                   ScoreQueries<3>, ScoreQueries<4>};
  while (num_queries > 0) {
    const int tile = num_queries < 4 ? num_queries : 4;
    kScore[tile](queries, query_stride, width, index, num_vectors, scores, score_stride);
    queries += tile * query_stride;
    scores += tile * score_stride;
    num_queries -= tile;
  }
}

// Leaves exp(score - max) in `scores`; returns 1 / their weighted sum.
F32x16 Exponentials(const float* weights, int n, float* scores) {
  const F32x16 lowest = Set1(-3.4e38f);
  F32x16 largest = lowest;
  ForEachLanes(n, [&](int i, int count) {
    const F32x16 lanes = LoadLanes(scores + i, count);
    largest = Max(largest, count == kLanes ? lanes : KeepFirst(lanes, count, lowest));
  });
  const F32x16 max = Set1(ReduceMax(largest));
  F32x16 sums = Zero();
  ForEachLanes(n, [&](int i, int count) {
    const F32x16 e = Exp(Sub(LoadLanes(scores + i, count), max));
    const F32x16 weight = weights == nullptr ? Set1(1.0f) : LoadLanes(weights + i, count);
    sums = Fma(count == kLanes ? e : KeepFirst(e, count, Zero()), weight, sums);
    StoreLanes(scores + i, e, count);
  });
  return Set1(1.0f / ReduceAdd(sums));
}

void WeightedSoftmaxBody(const float* weights, int n, float* scores) {
  const F32x16 inverse = Exponentials(weights, n, scores);
  ForEachLanes(n, [&](int i, int count) {
    StoreLanes(scores + i, Mul(LoadLanes(scores + i, count), inverse), count);
  });
}

// keys[i] = share of head 0, then for each other head join(its share, keys[i]).
template <class Join>
void JoinShares(const float* weights, int n, int group_size, float* scores, int64_t score_stride,
                float* keys, const Join& join) {
  for (int h = 0; h < group_size; ++h) {
    const float* const row = scores + h * score_stride;
    const F32x16 inverse = Exponentials(weights, n, scores + h * score_stride);
    ForEachLanes(n, [&](int i, int count) {
      const F32x16 share = Mul(LoadLanes(row + i, count), inverse);
      StoreLanes(keys + i, h == 0 ? share : join(share, LoadLanes(keys + i, count)), count);
    });
  }
}

void GroupMassBody(const float* weights, int n, int group_size, float* scores, int64_t score_stride,
                   float* keys) {
  JoinShares(weights, n, group_size, scores, score_stride, keys,
             [](F32x16 share, F32x16 key) { return Max(share, key); });
}

void GroupSumBody(int n, int group_size, float* scores, int64_t score_stride, float* mass) {
  JoinShares(/*weights=*/nullptr, n, group_size, scores, score_stride, mass,
             [](F32x16 share, F32x16 sum) { return Add(sum, share); });
}

// Searches the bits of floats that are not negative, which grow as they do. A pass cuts the
// interval in four: its three sums have no chain in common, and no branch depends on the keys.
KeyCut FindCutBody(const float* keys, const float* weights, int n, float budget) {
  constexpr int kParts = 4;
  constexpr uint32_t kZero = 0x007fffffu;  // the largest denormal: flushed
  constexpr uint32_t kInfinity = 0x7f800000u;
  const F32x16 largest = Set1(std::bit_cast<float>(kInfinity - 1));
  uint32_t low = kZero, high = kInfinity;  // from `high` on the entries weigh too little
  float weight_above = 0;
  while (high - low > 1) {
    const uint32_t step = (high - low + kParts - 1) / kParts;
    F32x16 limits[kParts - 1], sums[kParts - 1];
    for (int part = 0; part < kParts - 1; ++part) {
      limits[part] = Set1(std::bit_cast<float>(std::min(low + (part + 1) * step, high)));
      sums[part] = Zero();
    }
    ForEachLanes(n, [&](int i, int count) {
      const F32x16 key = Min(LoadLanes(keys + i, count), largest);
      const F32x16 weight = weights == nullptr ? Set1(1.0f) : LoadLanes(weights + i, count);
      for (int part = 0; part < kParts - 1; ++part) {
        sums[part] = Add(sums[part], ZeroWhereLess(key, limits[part], weight));
      }
    });
    for (const F32x16 lanes : sums) {
      const float sum = ReduceAdd(lanes);
      const uint32_t limit = std::min(low + step, high);
      if (sum < budget) {
        high = limit;
        weight_above = sum;
        break;
      }
      low = limit;
    }
  }
  return {low == kZero ? 0.0f : std::bit_cast<float>(low), weight_above};
}

int EntriesFromBody(const float* keys, int n, float cut, int32_t* numbers) {
  const F32x16 limit = Set1(cut);
  int num_entries = 0;
  ForEachLanes(n, [&](int i, int count) {
    uint32_t mask = NotLessMask(LoadLanes(keys + i, count), limit) & ((1u << count) - 1);
    for (; mask != 0; mask &= mask - 1) numbers[num_entries++] = i + std::countr_zero(mask);
  });
  return num_entries;
}

void MeanOfRowsBody(const float* rows, int num_rows, int width, float* mean) {
  const F32x16 count = Set1(static_cast<float>(num_rows));
  ForEachLanes(width, [&](int c, int n) {
    F32x16 sum = Zero();
    for (int t = 0; t < num_rows; ++t) sum = Add(sum, LoadLanes(rows + int64_t{t} * width + c, n));
    StoreLanes(mean + c, Div(sum, count), n);
  });
}

void CuboidOfRowsBody(const float* rows, int num_rows, int width, float* centre,
                      float* half_width) {
  const F32x16 count = Set1(static_cast<float>(num_rows));
  ForEachLanes(width, [&](int c, int n) {
    F32x16 high = LoadLanes(rows + c, n), low = high;
    for (int t = 1; t < num_rows; ++t) {
      const F32x16 row = LoadLanes(rows + int64_t{t} * width + c, n);
      high = Max(high, row);
      low = Min(low, row);
    }
    const F32x16 middle = Mul(Add(high, low), Set1(0.5f));
    F32x16 sum = Zero();
    for (int t = 0; t < num_rows; ++t) {
      sum = Add(sum, Abs(Sub(LoadLanes(rows + int64_t{t} * width + c, n), middle)));
    }
    StoreLanes(centre + c, middle, n);
    StoreLanes(half_width + c, Div(sum, count), n);
  });
}

}  // namespace
}  // namespace skv::kernels
