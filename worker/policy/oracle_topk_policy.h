#pragma once
// `oracle_topk`: the entries that full attention gives most. What no selection of as many entries
// surpasses; it reads every key to know, so it saves nothing.
//
// With budget B, a query at `position` attends all when position < B, else exactly B entries: the
// start and the recent ones of BudgetSplit, and between them those of the largest mass, summed over
// the group (equal ones: the smaller position). An unfinished sentence that is longer than the
// recent tokens gets no place of its own, so that this stays above those that give it one.

#include <memory>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// REQUIRES: Validate(params).ok()
std::unique_ptr<KvPolicy> CreateOracleTopKPolicy(const PolicyParams& params,
                                                 const SequenceShape& shape,
                                                 const std::vector<Sentence>* sentences);

}  // namespace skv::policy
