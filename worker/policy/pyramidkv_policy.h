#pragma once
// `pyramidkv` (PyramidKV, arXiv 2406.02069): `snapkv`, whose low layers, where attention is spread
// wide, keep more of the prompt and the high ones less. The mean over the layers is the budget.
//
// A query attends what its layer keeps of the prompt and every generated token up to itself. It
// evicts (worker/policy/kv_policy.h).

#include <memory>
#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// REQUIRES: Validate(params).ok()
std::unique_ptr<KvPolicy> CreatePyramidKvPolicy(const PolicyParams& params,
                                                const SequenceShape& shape,
                                                const std::vector<Sentence>* sentences);

// Prompt tokens that each of `num_layers` keeps, num_layers * budget in all. With window W, a mean
// of A = budget - W and N prompt tokens:
//   the first layer W + max, the last W + min, in between evenly, rounded to the nearest (halves
//   up); max = 2 A - min and min = A / 20, or max = N - W and min = 2 A - max where that is less;
//   one token less from layer 0 on until the total is right;
//   the budget in every layer when N < 2 A, when min < 1, or when there is one layer.
// REQUIRES: num_prompt_tokens > budget_tokens
std::vector<int> PyramidTokens(int budget_tokens, int num_prompt_tokens, int num_layers);

}  // namespace skv::policy
