#pragma once
// A case of skv-kept-sets: a KV policy, and the keys and queries of a sequence that it watches.
//
// On disk a case is one line of JSON and raw little-endian float32 behind its line break:
//   {"policy": "snapkv", "budget": 64, "semantic_factor": 0,
//    "layers": 2, "kv_heads": 1, "group": 3, "head_dim": 32, "prompt": 200, "tokens": 210,
//    "max_step": 64, "seed": 7, "fork": false, "sentences": [[begin, end, known_at], ...]}
//   keys [layers, kv_heads, tokens, head_dim], rotated, each a bf16 value as a KV cache holds it
//   queries [layers, kv_heads, tokens, group, head_dim], rotated
// eval/rivals/cases.py writes it. Cases follow each other without anything between them.

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "worker/policy/policy_params.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::eval {

struct KeptCase {
  policy::PolicyParams params;
  policy::TestSequence sequence;
  int max_step;   // positions a step, at most
  uint32_t seed;  // of the sizes of the steps
  bool fork;      // the generated positions ask a fork of the prompt's policy
};

// Takes the first case off the front of `bytes`. InvalidArgument names the field or number, what it
// is and what is expected. Takes memory only for what `bytes` holds.
absl::StatusOr<KeptCase> TakeCase(std::string_view* bytes);

}  // namespace skv::eval
