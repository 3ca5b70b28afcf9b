#pragma once
// One request of random tokens under a KV policy, and what became of it: what the engine's tests of
// policies have in common.

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "worker/engine/testing/local_engine.h"

namespace skv::engine {

struct RandomRequestOptions {
  uint32_t prompt_seed = 1;
  int num_prompt_tokens;
  int num_samples = 1;  // their seeds are 100, 101, ...
  int max_tokens;       // exactly: no token ends a sample early
  policy::PolicyParams policy;
};

// Token ids are below 256; temperature 1.
GenerationRequest RandomRequest(const RandomRequestOptions& options);

// Fails the test when the engine does not take it. `id` may be null.
std::shared_ptr<CollectingSink> Submit(LocalEngine* local, GenerationRequest request,
                                       RequestId* id = nullptr);

struct Outcome {
  std::vector<TokenId> tokens;
  std::map<int, uint64_t> hashes;  // of the logits of each position
  FinishEvent finish;
};

// Of sample 0, in an engine that has had no request before. Fails the test when it does not finish
// well.
Outcome RunFirst(LocalEngine* local, GenerationRequest request);

}  // namespace skv::engine
