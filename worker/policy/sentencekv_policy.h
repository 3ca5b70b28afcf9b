#pragma once
// `sentencekv` (SentenceKV, arXiv 2504.00970): one vector a sentence; a query attends the start,
// the recent tokens and the whole sentences that the sentence being written asks for.

#include <memory>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// REQUIRES: Validate(params).ok().
std::unique_ptr<KvPolicy> CreateSentenceKvPolicy(const PolicyParams& params,
                                                 const SequenceShape& shape,
                                                 const std::vector<Sentence>* sentences);

}  // namespace skv::policy
