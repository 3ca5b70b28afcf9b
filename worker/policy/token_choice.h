#pragma once
// Which tokens of those that a coarse selection has found a query attends.

#include <span>
#include <vector>

#include "kernels/key_sketch.h"
#include "worker/policy/kv_policy.h"

namespace skv::policy {

struct TokenLimits {
  int num_first = 0, num_last = 0;  // of what is found: attended whatever they get
  int most = 0;                     // of the rest
  // A token of the rest gets at least this share of what all of `found` get in the mean: less is of
  // no use to the query. Those left out for this get less than this share of all attention.
  float least_of_mean = 0;
};

// Appends to `attended` (as AppendRange does) the first and last of the tokens `found`, and of the
// rest those within `limits` that get the most attention, summed over the group's heads, when
// `query` attends to all of `found`; equal ones: the earlier first. All of the rest where they are
// no more than limits.most.
//   query     [group_size, head_dim], rotated
//   found     sorted and disjoint; at least num_first + num_last tokens, all of them written
//   sketches  of all keys of the rest, in order, which are ranked by them. The first num_first of
//             `found` are then neighbours, and so are the last num_last. Empty: ranked by keys
void ChooseTokens(const KvReader& kv, const SequenceShape& shape, const float* query,
                  const std::vector<PositionRange>& found, const TokenLimits& limits,
                  std::span<const kernels::SketchRun> sketches,
                  std::vector<PositionRange>* attended);

}  // namespace skv::policy
