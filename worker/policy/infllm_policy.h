#pragma once
// `infllm` (InfLLM, arXiv 2402.04617), as a selection for generated positions: the first tokens,
// the last ones, and blocks of what lies between, each known by a few of its tokens.
//
// With budget B, a query at `position` attends all when position < B, else exactly B tokens:
//   init    the first min(32, B / 8)
//   local   the last B / 2, and what lies between them and the last whole block
//   blocks  of min(128, B / 8) tokens, which lie behind one another from the init tokens on, as far
//           as they are older than the last B / 2 tokens: those of the largest score (equal ones:
//           the first); the last one is cut at its end
// The score of a block is the dot product of its vector with the query, summed over the heads of
// the group. Its vector is the mean of the keys of its 4 representatives: the tokens that received
// most attention, summed over all queries and heads that had them among their last B / 2 tokens,
// each query's softmax taken over these tokens (equal ones: the smaller position). Vectors are
// rounded to bf16.
//
// What differs from the paper:
//   - Prompt positions get exact causal attention. The paper's selection replaces it too, which
//     saves prefill and lets it run past the trained length; here it does neither.
//   - Keys keep the rotary positions that they were cached at, in attention, representatives and
//     scores. The paper takes far keys as equally far, and blocks by keys that are not rotated.
//   - Each KV head chooses its own blocks, by its own group's queries. The paper scores the queries
//     of all heads together: one list of blocks for the whole layer, which ranks that hold a part
//     of the heads could not do without a message a layer.
//   - Blocks shrink with budgets below 1024, and the last one is cut: the paper has budgets of
//   about
//     8K, in whole blocks.
//   - Blocks that are not chosen stay in memory.

#include <memory>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// REQUIRES: Validate(params).ok()
std::unique_ptr<KvPolicy> CreateInfLlmPolicy(const PolicyParams& params, const SequenceShape& shape,
                                             const std::vector<Sentence>* sentences);

}  // namespace skv::policy
