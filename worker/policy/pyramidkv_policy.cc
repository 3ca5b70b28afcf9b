#include "worker/policy/pyramidkv_policy.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>

#include "worker/policy/importance.h"
#include "worker/policy/prompt_eviction.h"

namespace skv::policy {
namespace {

constexpr int kBeta = 20;  // the mean over the last layer's share

}  // namespace

std::vector<int> PyramidTokens(int budget_tokens, int num_prompt_tokens, int num_layers) {
  const int window = ObservationWindow(budget_tokens), mean = budget_tokens - window;
  // In units of 1 / kBeta, which keeps everything whole.
  const int64_t max = std::min<int64_t>(int64_t{mean} * (2 * kBeta - 1),
                                        int64_t{num_prompt_tokens - window} * kBeta);
  const int64_t min = int64_t{mean} * 2 * kBeta - max;
  if (num_prompt_tokens < 2 * mean || min < kBeta || num_layers == 1) {
    return std::vector<int>(num_layers, budget_tokens);
  }
  std::vector<int> tokens(num_layers);
  const int64_t unit = int64_t{kBeta} * (num_layers - 1);
  for (int layer = 0; layer < num_layers; ++layer) {
    const int64_t share = max * (num_layers - 1) - (max - min) * layer;
    tokens[layer] = window + static_cast<int>((2 * share + unit) / (2 * unit));
  }
  // Shares of layers that mirror each other sum up to twice the mean, so that only halves, which
  // are rounded up, leave a remainder.
  int64_t excess =
      std::reduce(tokens.begin(), tokens.end(), int64_t{0}) - int64_t{num_layers} * budget_tokens;
  for (int layer = 0; excess > 0; ++layer, --excess) --tokens[layer];
  return tokens;
}

std::unique_ptr<KvPolicy> CreatePyramidKvPolicy(const PolicyParams& params,
                                                const SequenceShape& shape,
                                                const std::vector<Sentence>*) {
  const int budget = params.budget_tokens;
  PromptEvictionRule rule = {.window = ObservationWindow(budget)};
  if (shape.num_prompt_tokens > budget) {
    rule.num_kept = PyramidTokens(budget, shape.num_prompt_tokens, shape.num_layers);
  }
  return CreatePromptEviction(shape, std::move(rule));
}

}  // namespace skv::policy
