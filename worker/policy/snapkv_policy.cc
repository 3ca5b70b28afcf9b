#include "worker/policy/snapkv_policy.h"

#include "worker/policy/prompt_eviction.h"

namespace skv::policy {

std::unique_ptr<KvPolicy> CreateSnapKvPolicy(const PolicyParams& params, const SequenceShape& shape,
                                             const std::vector<Sentence>*) {
  const int budget = params.budget_tokens;
  std::vector<int> num_kept;
  if (shape.num_prompt_tokens > budget) num_kept.assign(shape.num_layers, budget);
  return CreatePromptEviction(shape, ObservationWindow(budget), num_kept);
}

}  // namespace skv::policy
