#pragma once
// `spread`: the last half of the budget, and before it as many positions at even distances. The
// worked example of docs/kv-policies.md; no worker offers it.

#include <memory>
#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

std::unique_ptr<KvPolicy> CreateSpreadPolicy(const PolicyParams& params, const SequenceShape& shape,
                                             const std::vector<Sentence>* sentences);

}  // namespace skv::policy
