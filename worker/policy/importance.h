#pragma once
// SnapKV's scores of prompt tokens (arXiv 2404.14469): the attention that they get from the last
// queries of the prompt, which see what is asked.

#include <cstdint>
#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

struct ImportanceShape {
  int group_size;
  int head_dim;
  int num_prompt_tokens;
  int window;  // the last queries, whose own tokens are always important
};

// The window of a budget.
int ObservationWindow(int budget_tokens);

enum class Pooling { kNone, kMaxOfNeighbours };

// The attention that each token before the window gets from the window's queries, summed over
// them, pooled (maximum of 7 neighbours) and summed over the group:
// [num_prompt_tokens - window]. `kv` and `queries` as below.
std::vector<float> WindowAttention(const ImportanceShape& shape, const KvReader& kv,
                                   const std::vector<float>& queries, Pooling pooling);

// The positions of the `num_kept` most important prompt tokens of one KV head, sorted: the window
// and the tokens before it with the largest attention, summed over the window's queries, pooled
// (maximum of 7 neighbours) and averaged over the group; equal ones: the smaller position first.
//   kv       the whole prompt is written
//   queries  [window, group_size, head_dim], rotated
//   REQUIRES: window <= num_kept <= num_prompt_tokens
std::vector<int32_t> ImportantPositions(const ImportanceShape& shape, const KvReader& kv,
                                        const std::vector<float>& queries, int num_kept);

}  // namespace skv::policy
