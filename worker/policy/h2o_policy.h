#pragma once
// `h2o` (Heavy-Hitter Oracle, arXiv 2306.14048): tokens that have got much attention will get more.
//
// With budget B a query at `position` attends all when position < B, else exactly B tokens. Of a
// prompt of more than B tokens the last B / 2 are kept and, of the others, the B / 2 of the largest
// scores. A new token is kept before its query attends; where that makes B + 1, the one of the
// smallest score (equal ones: the larger position) outside the last B / 2 is evicted, for good
// (worker/policy/kv_policy.h).
//
// The score of a token is the sum, over all queries so far and the heads of the group, of the share
// of attention that they gave it: prompt queries over all tokens up to themselves, generated ones
// over what they attended. A query counts after its own selection. That takes a second product of
// all prompt queries and keys, but no more than O(prompt) of memory.

#include <memory>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// REQUIRES: Validate(params).ok()
std::unique_ptr<KvPolicy> CreateH2oPolicy(const PolicyParams& params, const SequenceShape& shape,
                                          const std::vector<Sentence>* sentences);

}  // namespace skv::policy
