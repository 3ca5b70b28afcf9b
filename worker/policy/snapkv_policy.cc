#include "worker/policy/snapkv_policy.h"

#include <utility>

#include "worker/policy/importance.h"
#include "worker/policy/prompt_eviction.h"

namespace skv::policy {

std::unique_ptr<KvPolicy> CreateSnapKvPolicy(const PolicyParams& params, const SequenceShape& shape,
                                             const std::vector<Sentence>*) {
  const int budget = params.budget_tokens;
  PromptEvictionRule rule = {.window = ObservationWindow(budget)};
  if (shape.num_prompt_tokens > budget) rule.num_kept.assign(shape.num_layers, budget);
  return CreatePromptEviction(shape, std::move(rule));
}

}  // namespace skv::policy
