#pragma once
// `streaming` (StreamingLLM, arXiv 2309.17453): a query attends the first tokens, which draw
// attention whatever they say, and the last ones.
//
// With budget B, a query at `position` attends all when position < B, else the first 4 tokens and
// the last B - 4, its own included. It evicts (worker/policy/kv_policy.h). No index, and the same
// for all heads and layers. Keys keep the rotary positions that they were cached at; the paper
// rotates by the place in the cache, which is what lets it run past the trained length, and this
// does not.

#include <memory>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// REQUIRES: Validate(params).ok()
std::unique_ptr<KvPolicy> CreateStreamingPolicy(const PolicyParams& params,
                                                const SequenceShape& shape,
                                                const std::vector<Sentence>* sentences);

}  // namespace skv::policy
