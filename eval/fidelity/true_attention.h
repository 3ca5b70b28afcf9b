#pragma once
// What full attention gives for one query: the truth that selections are measured against.

#include <vector>

#include "worker/policy/attention_mass.h"

namespace skv::eval {

struct TrueAttention : policy::AttentionMass {
  int head_dim = 0;
  std::vector<float> output;  // [group_size, head_dim]
};

// Softmax attention of `query` [group_size, head_dim] over the keys that `kv` holds before
// `num_visible` and `values` [num_visible, head_dim], float32. Reuses the memory of `truth`.
void ComputeTrueAttention(const policy::KvReader& kv, const float* query, const float* values,
                          int num_visible, int group_size, int head_dim, TrueAttention* truth);

// output[c] += sum over rows in `range` of weights[row] * values[row][c]; `output` [head_dim].
void AddWeightedRows(const float* weights, const float* values, policy::PositionRange range,
                     int head_dim, float* output);

}  // namespace skv::eval
