#pragma once
// The policies that select anew at every position, from their definitions: token by token, in
// double precision and without a thought for speed.

#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {

// What `quest`, `infllm` or an oracle attends for one layer and KV head.
HeadSelections ReferenceSelection(const PolicyParams& params, const TestSequence& sequence,
                                  int layer, int kv_head);

}  // namespace skv::policy
