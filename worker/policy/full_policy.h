#pragma once
// `full`: every query attends every entry before it and itself. The oracle of all other policies.

#include <memory>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

std::unique_ptr<KvPolicy> CreateFullPolicy(const PolicyParams& params, const SequenceShape& shape,
                                           const std::vector<Sentence>* sentences);

}  // namespace skv::policy
