#pragma once
// One order of sentences for a KV head from what each query head of its group wants.

#include <cstdint>

namespace skv::policy {

enum class GroupReduction {
  kMaxShare,   // the largest share of attention over the heads (kernels::GroupMass)
  kMeanShare,  // their mean
  kMeanScore,  // the mean of the scores themselves: a head with large ones drowns the others
};

// keys[i] orders sentence i, the largest first; none is negative. `scores` is overwritten.
//   lengths [n]: tokens of each sentence; n >= 1
//   scores  [group_size, n], score_stride in floats
//   keys    [n]
void ReduceGroup(GroupReduction reduction, const float* lengths, int n, int group_size,
                 float* scores, int64_t score_stride, float* keys);

}  // namespace skv::policy
