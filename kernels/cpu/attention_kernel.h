#pragma once
// The attention arithmetic of docs/arithmetic.md over 16 lanes, compiled once for each instruction
// set by including it into that ISA's file (everything here has internal linkage). REQUIRES
// everywhere: denormals are flushed (kernels/denormals.h).

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/attention.h"
#include "kernels/cpu/attention_operands.h"
#include "kernels/cpu/attention_paths.h"
#include "kernels/cpu/bf16_pairs.h"
#include "kernels/cpu/f32x16.h"
#include "kernels/cpu/key_scores_body.h"

namespace skv::kernels {
namespace {

#if defined(__AVX512F__)
// Query rows x vectors of a register tile: 16 accumulators cover the latency (6 cycles) of one
// VDPBF16PS a cycle.
constexpr int kTileRows = 4;
constexpr int kTileVecs = 4;
constexpr int kFewRowsVecs = 4;  // with up to three rows
#else
constexpr int kTileRows = 6;  // 12 accumulators of 16 registers, and few loads for each product
constexpr int kTileVecs = 1;
constexpr int kFewRowsVecs = 2;
#endif
constexpr int kPairs = kAttentionGroup / 2;             // key pairs of a group
constexpr int kProbabilityWords = kPairWords * kPairs;  // of a row

// Of a row's query.
inline int QueryWords(const AttentionShape& shape) { return kPairWords * shape.head_dim / 2; }

// 2^x for x <= 0: exactly 1 at 0, 0 below -126, relative error 3e-6.
inline F32x16 Exp2(F32x16 x) {
  const F32x16 n = Round(x);
  const F32x16 r = Sub(x, n);
  F32x16 p = Set1(kExp2C4);
  p = Fma(p, r, Set1(kExp2C3));
  p = Fma(p, r, Set1(kExp2C2));
  p = Fma(p, r, Set1(kExp2C1));
  p = Fma(p, r, Set1(1.0f));
  return ZeroWhereLess(x, Set1(-126.0f), ScaleByPow2(p, n));
}

// state * keep + group * add.
inline F32x16 Merge(F32x16 state, F32x16 keep, F32x16 group, F32x16 add) {
  return Fma(group, add, Mul(state, keep));
}

void PackQueries(const AttentionShape& shape, const float* q, int64_t q_stride, int num_queries,
                 uint32_t* packed) {
  const F32x16 factor = Set1(shape.scale * kLog2E);
  const int width = shape.group_size * shape.head_dim;
  for (int i = 0; i < num_queries; ++i) {
    for (int c = 0; c < width; c += 2 * kLanes) {
      const float* src = q + i * q_stride + c;
      const F32x16 first = Mul(Load(src), factor);
      const F32x16 second = Mul(Load(src + kLanes), factor);
      StoreLeft(packed + (int64_t{i} * width + c) / 2 * kPairWords, RoundToPairs(first, second));
    }
  }
}

void PackKeys(const AttentionShape& shape, const GroupRows& rows, uint32_t* keys) {
  for (int key = 0; key < kAttentionGroup; key += kLanes) {
    for (int c = 0; c < shape.head_dim; c += 2 * kLanes) {
      uint32_t pairs[kLanes * kLanes];
      TransposeRows(rows.k + key, c, pairs, kLanes);
      for (int pair = 0; pair < kLanes; ++pair) {
        StoreRight(keys + (c / 2 + pair) * kKeyWords + key, kAttentionGroup,
                   LoadPairs(pairs + pair * kLanes));
      }
    }
  }
}

void PackGroup(const AttentionShape& shape, const GroupRows& rows, uint32_t* keys,
               uint32_t* values) {
  PackKeys(shape, rows, keys);
  for (int pair = 0; pair < kPairs; ++pair) {
    for (int c = 0; c < shape.head_dim; c += 2 * kLanes) {
      Pairs16 first, second;
      InterleaveRows(rows.v[2 * pair] + c, rows.v[2 * pair + 1] + c, &first, &second);
      uint32_t* const dst = values + pair * kPairWords * shape.head_dim + c;
      StoreRight(dst, shape.head_dim, first);
      StoreRight(dst + kLanes, shape.head_dim, second);
    }
  }
}

// scores[i][16 kV keys] of kR query rows; calls each_pair(pair) before each pair of channels.
template <int kR, int kV, class Keys, class EachPair>
inline void Scores(const uint32_t* q, int query_words, const Keys& keys, float* scores,
                   const EachPair& each_pair) {
  F32x16 acc[kR][kV];
  for (int i = 0; i < kR; ++i) {
    for (int j = 0; j < kV; ++j) acc[i][j] = Zero();
  }
  for (int pair = 0; pair < query_words / kPairWords; ++pair) {
    each_pair(pair);
    AddDots<kR>(q + LeftWord(pair), query_words, keys.Pair(pair), acc);
  }
  for (int i = 0; i < kR; ++i) {
    for (int j = 0; j < kV; ++j) Store(scores + i * kAttentionGroup + j * kLanes, acc[i][j]);
  }
}

// Vectors that hold `visible` entries; even, since they are rounded in twos.
inline int NumVecs(int visible) { return (visible + 2 * kLanes - 1) / (2 * kLanes) * 2; }

// The largest score; those from entry `visible` on become -inf.
inline float MaxScore(float* scores, int visible) {
  F32x16 top = Set1(kLowestScore);
  for (int j = 0; j < NumVecs(visible); ++j) {
    F32x16 score = Load(scores + j * kLanes);
    const int count = visible - j * kLanes;
    if (count < kLanes) {
      score = KeepFirst(score, count, Set1(-INFINITY));
      Store(scores + j * kLanes, score);
    }
    top = Max(score, top);
  }
  return ReduceMax(top);
}

// Scores to rounded probabilities; returns their sums by lane.
inline F32x16 Exponentials(const float* scores, int visible, float max, uint32_t* probabilities) {
  const F32x16 offset = Set1(max);
  F32x16 total = Zero();
  for (int j = 0; j < NumVecs(visible); j += 2) {
    const F32x16 first = Exp2(Sub(Load(scores + j * kLanes), offset));
    const F32x16 second = Exp2(Sub(Load(scores + (j + 1) * kLanes), offset));
    const Pairs16 pairs = RoundToPairs(first, second);
    StoreLeft(probabilities + j * (kLanes / 2) * kPairWords, pairs);
    total = DotPairs(total, pairs, SetPairs(kBf16OnePair));
  }
  return total;
}

// Probabilities, max and sum of kR rows; each step for all rows, so that the latencies of one row's
// folds hide behind the others.
template <int kR>
inline void SoftmaxRows(const AttentionScratch& s, int row) {
  F32x16 totals[kR];
  for (int i = 0; i < kR; ++i) {
    s.group_max[row + i] = MaxScore(s.scores + i * kAttentionGroup, s.visible[row + i]);
  }
  for (int i = 0; i < kR; ++i) {
    totals[i] = Exponentials(s.scores + i * kAttentionGroup, s.visible[row + i],
                             s.group_max[row + i], s.probabilities + (row + i) * kProbabilityWords);
  }
  for (int i = 0; i < kR; ++i) s.group_sum[row + i] = ReduceAdd(totals[i]);
}

// acc[i] = o[c, c + 16 kV) of kR rows: first over the pairs that all rows see (later rows see no
// less), then over each row's own.
template <int kR, int kV, class Values>
inline void Outputs(const uint32_t* probabilities, const int* visible, const Values& values, int c,
                    F32x16 (&acc)[kR][kV]) {
  for (int i = 0; i < kR; ++i) {
    for (int j = 0; j < kV; ++j) acc[i][j] = Zero();
  }
  const int common = visible[0] / 2;
  for (int pair = 0; pair < common; ++pair) {
    AddDots<kR>(probabilities + LeftWord(pair), kProbabilityWords,
                values.template Pair<kV>(pair, c), acc);
  }
  if (visible[kR - 1] == 2 * common) return;
  for (int i = 0; i < kR; ++i) {
    const uint32_t* const p = probabilities + i * kProbabilityWords;
    int pair = common;
    for (; pair < visible[i] / 2; ++pair) {
      AddDots<1>(p + LeftWord(pair), 0, values.template Pair<kV>(pair, c), acc + i);
    }
    if (2 * pair == visible[i]) continue;
    auto last = values.template Pair<kV>(pair, c);
    AddDots<1>(p + LeftWord(pair), 0, EvenVectors<decltype(last)>{last}, acc + i);
  }
}

// Few rows need more vectors in flight to cover the latency of DotPairs.
template <int kR>
constexpr int kOutputVecs = kR <= 3 ? kFewRowsVecs : kTileVecs;
template <int kR>
constexpr int kScoreVecs = (kR == 1 ? 2 : 1) * kOutputVecs<kR>;

template <int kR>
void ScoreRows(const AttentionShape& shape, const AttentionScratch& s, int row) {
  constexpr int kV = kScoreVecs<kR>;
  const int query_words = QueryWords(shape);
  const int num_keys = s.visible[row + kR - 1];
  for (int key = 0; key < num_keys; key += kV * kLanes) {
    Scores<kR, kV>(s.q + row * query_words, query_words, PackedKeys{s.keys + key}, s.scores + key,
                   [](int) {});
  }
  SoftmaxRows<kR>(s, row);
}

template <int kR, int kV, class Values>
inline void OutputChannels(const AttentionShape& shape, const AttentionScratch& s,
                           const Values& values, int row, int c, bool first) {
  F32x16 acc[kR][kV];
  Outputs<kR, kV>(s.probabilities + row * kProbabilityWords, s.visible + row, values, c, acc);
  for (int i = 0; i < kR; ++i) {
    float* o = s.o + (row + i) * shape.head_dim + c;
    if (first) {
      for (int j = 0; j < kV; ++j) Store(o + j * kLanes, acc[i][j]);
      continue;
    }
    const F32x16 keep = Set1(s.keep[row + i]);
    const F32x16 add = Set1(s.add[row + i]);
    for (int j = 0; j < kV; ++j) {
      Store(o + j * kLanes, Merge(Load(o + j * kLanes), keep, acc[i][j], add));
    }
  }
}

template <int kR, class Values>
inline void OutputRows(const AttentionShape& shape, const AttentionScratch& s, const Values& values,
                       int row, bool first) {
  constexpr int kV = kOutputVecs<kR>, kWide = kV * kLanes;
  int c = 0;
  for (; c + kWide <= shape.head_dim; c += kWide) {
    OutputChannels<kR, kV>(shape, s, values, row, c, first);
  }
  if constexpr (kV > 2) {
    for (; c < shape.head_dim; c += 2 * kLanes) {
      OutputChannels<kR, 2>(shape, s, values, row, c, first);
    }
  }
}

// Calls tile.operator()<rows>(row) for register tiles that cover [begin, end).
template <int kR, class Tile>
inline void ForRowTiles(int begin, int end, const Tile& tile) {
  for (; begin + kR <= end; begin += kR) tile.template operator()<kR>(begin);
  if constexpr (kR > 1) ForRowTiles<kR - 1>(begin, end, tile);
}

// Merges max and sum of rows [begin, end) and leaves the factors for their o; touches up to 15 rows
// past `end`.
void MergeScalars(const AttentionScratch& s, int begin, int end, bool first) {
  for (int row = begin; row < end; row += kLanes) {
    const F32x16 group_max = Load(s.group_max + row);
    const F32x16 group_sum = Load(s.group_sum + row);
    if (first) {
      Store(s.max + row, group_max);
      Store(s.sum + row, group_sum);
      continue;
    }
    const F32x16 old_max = Load(s.max + row);
    const F32x16 max = Max(old_max, group_max);
    const F32x16 keep = Exp2(Sub(old_max, max));
    const F32x16 add = Exp2(Sub(group_max, max));
    Store(s.max + row, max);
    Store(s.sum + row, Merge(Load(s.sum + row), keep, group_sum, add));
    Store(s.keep + row, keep);
    Store(s.add + row, add);
  }
}

void AttendGroup(const AttentionShape& shape, const AttentionScratch& s, int row_begin, int row_end,
                 bool first) {
  const PackedValues values = {s.values, shape.head_dim};
  ForRowTiles<kTileRows>(row_begin, row_end,
                         [&]<int kR>(int row) { ScoreRows<kR>(shape, s, row); });
  MergeScalars(s, row_begin, row_end, first);
  ForRowTiles<kTileRows>(row_begin, row_end,
                         [&]<int kR>(int row) { OutputRows<kR>(shape, s, values, row, first); });
}

// Decode reads memory as fast as it comes only while lines are always under way, and a core has few
// miss buffers: so the next group's lines are asked for a few at a time all along the work on this
// one. Keys: half while packing, half while scoring; values: while reading this group's. So few
// rows share the keys that these stay bf16 pairs.
void PackPairKeys(const AttentionShape& shape, const GroupRows& rows, const GroupRows* next,
                  uint32_t* keys) {
  for (int key = 0; key < kAttentionGroup; key += kLanes) {
    for (int c = 0; c < shape.head_dim; c += 2 * kLanes) {
      for (int i = 0; next != nullptr && i < kLanes / 2; ++i) Prefetch(next->k[key / 2 + i] + c);
      TransposeRows(rows.k + key, c, keys + c / 2 * kAttentionGroup + key, kAttentionGroup);
    }
  }
}

template <int kR>
void ScorePairRows(const AttentionShape& shape, const AttentionScratch& s, int row,
                   const GroupRows* next) {
  constexpr int kV = kScoreVecs<kR>;
  constexpr int kNextRows = kV * kLanes / 2;  // of the next group, for each tile of keys
  const int query_words = QueryWords(shape);
  for (int key = 0; key < s.visible[row]; key += kV * kLanes) {
    const auto ask = [&](int pair) {
      if (next == nullptr) return;
      const Bf16* const* rows = next->k + kPairs + key / 2;
      for (int line = pair * kV / 2; line < (pair + 1) * kV / 2; ++line) {
        Prefetch(rows[line % kNextRows] + line / kNextRows * (2 * kLanes));
      }
    };
    Scores<kR, kV>(s.q + row * query_words, query_words, PairKeys{s.keys + key}, s.scores + key,
                   ask);
  }
  SoftmaxRows<kR>(s, row);
}

void AttendOne(const AttentionShape& shape, const AttentionScratch& s, const GroupRows& rows,
               const GroupRows* next) {
  const int num_rows = shape.group_size;
  PackPairKeys(shape, rows, next, s.keys);
  ForRowTiles<kTileRows>(0, num_rows,
                         [&]<int kR>(int row) { ScorePairRows<kR>(shape, s, row, next); });
  MergeScalars(s, 0, num_rows, /*first=*/true);
  const RowValues values = {rows.v, next == nullptr ? nullptr : next->v};
  ForRowTiles<kTileRows>(
      0, num_rows, [&]<int kR>(int row) { OutputRows<kR>(shape, s, values, row, /*first=*/true); });
}

void Normalise(const float* o, float sum, int head_dim, float* out) {
  for (int c = 0; c < head_dim; c += kLanes) Store(out + c, Div(Load(o + c), Set1(sum)));
}

void MergeHead(const float* state, int64_t stride, int num_groups, int head_dim, float* out) {
  std::copy_n(state + kStateHeader, head_dim, out);
  F32x16 max = Set1(state[0]);
  F32x16 sum = Set1(state[1]);
  for (int g = 1; g < num_groups; ++g) {
    state += stride;
    const F32x16 group_max = Set1(state[0]);
    const F32x16 new_max = Max(max, group_max);
    const F32x16 keep = Exp2(Sub(max, new_max));
    const F32x16 add = Exp2(Sub(group_max, new_max));
    max = new_max;
    sum = Merge(sum, keep, Set1(state[1]), add);
    for (int c = 0; c < head_dim; c += kLanes) {
      Store(out + c, Merge(Load(out + c), keep, Load(state + kStateHeader + c), add));
    }
  }
  float sums[kLanes];
  Store(sums, sum);
  Normalise(out, sums[0], head_dim, out);
}

void DotPairsOnce(const float* acc, const uint32_t* a, const uint32_t* b, float* out) {
  Store(out, DotPairs(Load(acc), LoadPairs(a), LoadPairs(b)));
}

void RoundRow(const float* src, int64_t count, Bf16* dst) {
  for (int64_t i = 0; i < count; i += 2 * kLanes) {
    float floats[2 * kLanes] = {};
    uint32_t pairs[kLanes];
    const int64_t n = std::min<int64_t>(2 * kLanes, count - i);
    std::copy_n(src + i, n, floats);
    StorePairs(pairs, RoundToPairs(Load(floats), Load(floats + kLanes)));
    std::memcpy(dst + i, pairs, n * sizeof(Bf16));
  }
}

void WidenRow(const Bf16* src, int64_t count, float* dst) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(dst + i, LoadBf16(src + i));
  if (i == count) return;
  Bf16 rest[kLanes] = {};
  std::copy(src + i, src + count, rest);
  StorePartial(dst + i, LoadBf16(rest), static_cast<int>(count - i));
}

constexpr AttentionPath kAttentionPath = {PackQueries, PackGroup,   AttendGroup,  AttendOne,
                                          Normalise,   MergeHead,   DotPairsOnce, RoundRow,
                                          WidenRow,    ScoreKeyRows};

}  // namespace
}  // namespace skv::kernels
