#include "worker/engine/testing/policy_run.h"

#include <gtest/gtest.h>

#include <random>
#include <utility>

#include "common/testing/status_matchers.h"

namespace skv::engine {

GenerationRequest RandomRequest(const RandomRequestOptions& options) {
  std::mt19937 random(options.prompt_seed);
  GenerationRequest request;
  for (int i = 0; i < options.num_prompt_tokens; ++i) {
    request.prompt_ids.push_back(static_cast<TokenId>(random() % 256));
  }
  request.params.temperature = 1;
  request.params.ignore_eos = true;
  for (int i = 0; i < options.num_samples; ++i) request.seeds.push_back(100 + i);
  request.max_tokens = options.max_tokens;
  request.policy = options.policy;
  return request;
}

std::shared_ptr<CollectingSink> Submit(LocalEngine* local, GenerationRequest request,
                                       RequestId* id) {
  auto sink = std::make_shared<CollectingSink>(static_cast<int>(request.seeds.size()));
  const auto submitted = local->engine().Submit(std::move(request), sink);
  EXPECT_OK(submitted);
  if (id != nullptr && submitted.ok()) *id = *submitted;
  return sink;
}

Outcome RunFirst(LocalEngine* local, GenerationRequest request) {
  const auto sink = Submit(local, std::move(request));
  EXPECT_TRUE(sink->WaitForFinish());
  EXPECT_OK(sink->finish().status);
  return {sink->tokens(), local->recorder().logit_hashes(1), sink->finish()};
}

}  // namespace skv::engine
