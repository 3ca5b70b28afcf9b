#pragma once
// What a KV policy computes to rank runs of tokens: digests of keys, their scores against queries,
// and the softmax over them (docs/arithmetic.md, "Selection"). Every path yields the same bits. A
// score depends on its query and its vector alone, not on what stands beside them. Functions are
// thread-safe and never allocate.
//
// Indexed vectors are bf16 and stand 16 to a block, one in each lane: word [c / 2][lane] of a block
// holds channels c (low half) and c + 1 of vector `lane`, so that scores run down the channels with
// no fold.

#include <cstddef>
#include <cstdint>

namespace skv::kernels {

inline constexpr int kIndexBlockVectors = 16;

// Words of the blocks that hold `num_vectors` vectors of `width` channels; width is even.
inline size_t IndexWords(int num_vectors, int width) {
  const size_t blocks =
      (static_cast<size_t>(num_vectors) + kIndexBlockVectors - 1) / kIndexBlockVectors;
  return blocks * kIndexBlockVectors * static_cast<size_t>(width / 2);
}

// Rounds vector [width] to bf16 (nearest even) and puts it at `number`. Other vectors keep theirs.
void PackIndexVector(const float* vector, int width, int number, uint32_t* index);

// scores[r, i] = query r . vector i.
//   queries [num_queries, width], query_stride in floats
//   index   IndexWords(num_vectors, width) words
//   scores  [num_queries, num_vectors], score_stride in floats
void ScoreVectors(const float* queries, int64_t query_stride, int num_queries, int width,
                  const uint32_t* index, int num_vectors, float* scores, int64_t score_stride);

// scores[i] = exp(scores[i] - max) / sum over j of weights[j] * exp(scores[j] - max), in place:
// with weights the softmax of one of weights[i] equal entries. Null weights are all 1.
//   scores, weights [n]; n >= 1; at least one weight is positive
void WeightedSoftmax(const float* weights, int n, float* scores);

// keys[i] = the largest over the group of WeightedSoftmax of its rows. A head with large scores
// does not drown the others, as it would without the softmax. `scores` is overwritten.
//   scores [group_size, n], score_stride in floats
//   keys   [n]
void GroupMass(const float* weights, int n, int group_size, float* scores, int64_t score_stride,
               float* keys);

// mass[i] = the sum over the group of WeightedSoftmax of its rows, without weights: the attention
// that the group gives entry i. `scores` is overwritten.
//   scores [group_size, n], score_stride in floats
//   mass   [n]
void GroupSum(int n, int group_size, float* scores, int64_t score_stride, float* mass);

// Where a budget ends among entries in order of their keys.
struct KeyCut {
  float key;           // the largest from which on the entries weigh at least the budget, or 0
  float weight_above;  // of the entries with larger keys: below the budget
};

// A NaN is taken as the largest key. Null weights are all 1.
//   keys    [n], not negative
//   weights [n], integers whose sum is below 2^24
KeyCut FindCut(const float* keys, const float* weights, int n, float budget);

// The numbers of the entries with keys from `cut` on and of NaNs, ascending; returns how many.
//   numbers [n]
int EntriesFrom(const float* keys, int n, float cut, int32_t* numbers);

// mean[c] over rows [num_rows, width], added up in order of rows; num_rows >= 1.
void MeanOfRows(const float* rows, int num_rows, int width, float* mean);

// The box around the rows: centre[c] = (max + min) / 2, half_width[c] = mean |row[c] - centre[c]|
// (ArkVale's "cuboid mean": the mean distance is a tighter half width than the largest).
void CuboidOfRows(const float* rows, int num_rows, int width, float* centre, float* half_width);

}  // namespace skv::kernels
