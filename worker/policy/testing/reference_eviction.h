#pragma once
// The policies that evict, from their definitions: token by token, in double precision and without
// a thought for speed.

#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {

// What `streaming`, `snapkv`, `pyramidkv`, `chunk` or `h2o` attends for one layer and KV head.
HeadSelections ReferenceEviction(const PolicyParams& params, const TestSequence& sequence,
                                 int layer, int kv_head);

}  // namespace skv::policy
