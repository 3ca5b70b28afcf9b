#pragma once
// `oracle_sentence` and `oracle_sentence_per_token`: the sentences that full attention gives most,
// in all or for each of their tokens. The better one is the ceiling of what `sentencekv` can
// select; both read every key to know, so they save nothing.
//
// With budget B, a query at `position` attends all when position < B, else exactly B
// tokens: the start, the recent ones with the unfinished sentence (BudgetSplit), and
// whole sentences of what lies between, by their mass summed over the group (equal ones: the
// first); the last one is cut at its end.

#include <memory>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// REQUIRES: Validate(params).ok(); sentences are adjacent, the first begins at 0, and known_at does
// not fall.
std::unique_ptr<KvPolicy> CreateOracleSentencePolicy(const PolicyParams& params,
                                                     const SequenceShape& shape,
                                                     const std::vector<Sentence>* sentences);
std::unique_ptr<KvPolicy> CreateOracleSentencePerTokenPolicy(
    const PolicyParams& params, const SequenceShape& shape, const std::vector<Sentence>* sentences);

}  // namespace skv::policy
