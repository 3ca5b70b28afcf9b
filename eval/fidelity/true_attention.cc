#include "eval/fidelity/true_attention.h"

namespace skv::eval {

void ComputeTrueAttention(const policy::KvReader& kv, const float* query, const float* values,
                          int num_visible, int group_size, int head_dim, TrueAttention* truth) {
  policy::ComputeAttentionMass(kv, query, num_visible, group_size, head_dim, truth);
  truth->head_dim = head_dim;
  truth->output.assign(int64_t{group_size} * head_dim, 0.0f);
  for (int h = 0; h < group_size; ++h) {
    AddWeightedRows(truth->mass.data() + int64_t{h} * num_visible, values, {0, num_visible},
                    head_dim, truth->output.data() + int64_t{h} * head_dim);
  }
}

void AddWeightedRows(const float* weights, const float* values, policy::PositionRange range,
                     int head_dim, float* output) {
  for (int i = range.begin; i < range.end; ++i) {
    const float weight = weights[i];
    const float* const row = values + int64_t{i} * head_dim;
    for (int c = 0; c < head_dim; ++c) output[c] += weight * row[c];
  }
}

}  // namespace skv::eval
