#pragma once
// `snapkv` (SnapKV, arXiv 2404.14469): the end of the prompt tells which of its tokens matter.
//
// With budget B a prompt of more than B tokens is cut to B in every layer and KV head: its last
// W = min(32, B / 4), and of the others those that the queries of these W attend most (maximum over
// 7 neighbours, mean over the group). What is generated is kept, so a query attends
// min(B, prompt) + generated tokens, its own included: the budget is the prompt's. It evicts
// (worker/policy/kv_policy.h).

#include <memory>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// REQUIRES: Validate(params).ok()
std::unique_ptr<KvPolicy> CreateSnapKvPolicy(const PolicyParams& params, const SequenceShape& shape,
                                             const std::vector<Sentence>* sentences);

}  // namespace skv::policy
