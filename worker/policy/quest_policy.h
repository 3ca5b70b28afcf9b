#pragma once
// `quest` (Quest, arXiv 2406.10774): pages of 16 tokens by the largest score that the query could
// have with any key of the page.
//
// With budget B a query at `position` attends all when position < B, and in the first two layers
// always: there it reads more than B. Elsewhere it attends max(3, B / 16) pages, or all where there
// are no more: the one that it lies in, which may not be full yet, and those before it of the
// largest share (equal ones: the smaller position). So it reads at most max(48, B) tokens, the
// first and last ones only where their pages earn it.
//
//   share of a page   the largest over the group of softmax over all pages of bound /
//   sqrt(head_dim) bound of a page   sum over channels c of max(q[c] * kmax[c], q[c] * kmin[c]);
//   kmax and kmin over
//                     the rotated keys of the page
//
// Nothing is freed. The index takes 1 / 16 of the memory of the keys and values: kmax and kmin in
// bf16, which rounds nothing where keys are cached in bf16.

#include <memory>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// REQUIRES: Validate(params).ok()
std::unique_ptr<KvPolicy> CreateQuestPolicy(const PolicyParams& params, const SequenceShape& shape,
                                            const std::vector<Sentence>* sentences);

}  // namespace skv::policy
