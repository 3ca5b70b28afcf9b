#pragma once
// `chunk` (ChunkKV, arXiv 2502.00299): `snapkv` that keeps or evicts whole chunks, so that what
// belongs together stays together.
//
// With budget B a prompt of more than B tokens is cut to B in every layer and KV head: its last
// W = min(32, B / 4), and of the chunks of 16 tokens before these, counted from the first token,
// those that the queries of the last W attend most (sum over tokens, queries and heads of the
// group; equal ones: the first); the last one is cut at its end. An odd layer keeps what the layer
// below it keeps. What is generated is kept, so a query attends min(B, prompt) + generated tokens,
// its own included: the budget is the prompt's. It evicts (worker/policy/kv_policy.h).

#include <memory>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// REQUIRES: Validate(params).ok()
std::unique_ptr<KvPolicy> CreateChunkPolicy(const PolicyParams& params, const SequenceShape& shape,
                                            const std::vector<Sentence>* sentences);

}  // namespace skv::policy
