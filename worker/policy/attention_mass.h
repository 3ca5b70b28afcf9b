#pragma once
// What full attention gives each entry that one query sees: the truth that selections are measured
// against, and that oracles know.

#include <span>
#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

struct AttentionMass {
  int num_visible = 0;
  int group_size = 0;
  std::vector<float> mass;         // [group_size, num_visible] probabilities of each query head
  std::vector<float> group_mass;   // [num_visible] their sum over the group
  std::vector<double> cumulative;  // [num_visible + 1] of group_mass: entry i sums those before i

  // Group mass of positions [begin, end).
  double MassOf(PositionRange range) const {
    return cumulative[range.end] - cumulative[range.begin];
  }
};

// Of `query` [group_size, head_dim] over the keys of the positions before `num_visible`, all of
// them read. Reuses the memory of `mass`. The same bits on every machine.
void ComputeAttentionMass(const KvReader& kv, const float* query, int num_visible, int group_size,
                          int head_dim, AttentionMass* mass);

// The share of one query head's mass that `ranges`, sorted and disjoint, hold: 1 only when what
// they leave out has none.
double HeldShare(const AttentionMass& mass, int head, std::span<const PositionRange> ranges);

// Memory of the calling thread, which its next user overwrites: megabytes that need not be mapped
// anew.
AttentionMass& ThreadAttentionMass();

}  // namespace skv::policy
