#pragma once
// What full attention gives for one query: the truth that selections are measured against.

#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::eval {

struct TrueAttention {
  int num_visible = 0;
  int group_size = 0;
  int head_dim = 0;
  std::vector<float> mass;         // [group_size, num_visible] probabilities of each query head
  std::vector<float> group_mass;   // [num_visible] their sum over the group
  std::vector<double> cumulative;  // [num_visible + 1] of group_mass: entry i sums those before i
  std::vector<float> output;       // [group_size, head_dim]

  // Group mass of positions [begin, end).
  double MassOf(policy::PositionRange range) const {
    return cumulative[range.end] - cumulative[range.begin];
  }
};

// Softmax attention of `query` [group_size, head_dim] over keys and values
// [num_visible, head_dim], float32. Reuses the memory of `truth`.
void ComputeTrueAttention(const float* query, const float* keys, const float* values,
                          int num_visible, int group_size, int head_dim, TrueAttention* truth);

// output[c] += sum over rows in `range` of weights[row] * values[row][c]; `output` [head_dim].
void AddWeightedRows(const float* weights, const float* values, policy::PositionRange range,
                     int head_dim, float* output);

}  // namespace skv::eval
