#pragma once
// `random`: what chance selects. What a selection of the same size must beat.
//
// With budget B, a query at `position` attends all when position < B, else exactly B tokens: the
// start, the recent ones with the unfinished sentence (BudgetSplit), and of what lies between as
// many as the budget leaves, drawn without replacement. The draw depends on layer and position
// alone: the heads of a layer draw alike, however they are spread over ranks, and so does a second
// run.

#include <memory>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// REQUIRES: Validate(params).ok(); sentences as `sentencekv` requires them
std::unique_ptr<KvPolicy> CreateRandomPolicy(const PolicyParams& params, const SequenceShape& shape,
                                             const std::vector<Sentence>* sentences);

}  // namespace skv::policy
