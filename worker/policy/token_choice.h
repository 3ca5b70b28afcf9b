#pragma once
// Which tokens of those that a coarse selection has found a query attends.

#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// Appends to `attended` (as AppendRange does) the first `num_first` of the tokens `found`, the last
// `num_last`, and of the rest the `budget` that get the most attention, summed over the group's
// heads, when `query` attends to all of `found`; equal ones: the earlier first. All of the rest
// where they are no more.
//   query  [group_size, head_dim], rotated
//   found  sorted and disjoint; at least num_first + num_last tokens, all of them written
void ChooseTokens(const KvReader& kv, const SequenceShape& shape, const float* query,
                  const std::vector<PositionRange>& found, int num_first, int num_last, int budget,
                  std::vector<PositionRange>* attended);

}  // namespace skv::policy
