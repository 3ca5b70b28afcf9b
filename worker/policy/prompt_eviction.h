#pragma once
// What `snapkv` and `pyramidkv` share: when the prompt ends, each layer keeps the prompt tokens
// that its last queries attend most (worker/policy/importance.h) and evicts the others; what is
// generated is kept. A query thus attends the kept tokens of the prompt and every generated one up
// to itself.

#include <memory>
#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// window       the last queries of the prompt, which rank it and whose own tokens are kept
// num_kept     [num_layers] prompt tokens of each KV head, window <= num_kept[l] <=
//              num_prompt_tokens; empty: all of the prompt is kept
std::unique_ptr<KvPolicy> CreatePromptEviction(const SequenceShape& shape, int window,
                                               std::vector<int> num_kept);

// The window of a budget.
int ObservationWindow(int budget_tokens);

}  // namespace skv::policy
