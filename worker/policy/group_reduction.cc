#include "worker/policy/group_reduction.h"

#include <algorithm>

#include "kernels/denormals.h"
#include "kernels/selection.h"

namespace skv::policy {
namespace {

// Sums order as means do.
void SumRows(const float* rows, int64_t stride, int n, int num_rows, float* sums) {
  std::copy_n(rows, n, sums);
  for (int row = 1; row < num_rows; ++row) {
    for (int i = 0; i < n; ++i) sums[i] += rows[row * stride + i];
  }
}

}  // namespace

void ReduceGroup(GroupReduction reduction, const float* lengths, int n, int group_size,
                 float* scores, int64_t score_stride, float* keys) {
  if (reduction == GroupReduction::kMaxShare) {
    kernels::GroupMass(lengths, n, group_size, scores, score_stride, keys);
    return;
  }
  const kernels::FlushDenormals flush;
  if (reduction == GroupReduction::kMeanShare) {
    for (int h = 0; h < group_size; ++h) {
      kernels::WeightedSoftmax(lengths, n, scores + h * score_stride);
    }
  }
  SumRows(scores, score_stride, n, group_size, keys);
  if (reduction == GroupReduction::kMeanScore) {
    const float least = *std::min_element(keys, keys + n);
    for (int i = 0; i < n; ++i) keys[i] -= least;
  }
}

}  // namespace skv::policy
