#include "worker/policy/sentencekv_options.h"

#include <algorithm>
#include <cmath>

#include "worker/policy/importance.h"

namespace skv::policy {

int NumEligible(const PolicyParams& params, int num_prompt_tokens) {
  const double limit = std::floor(params.semantic_factor * params.budget_tokens);
  return limit > 0 && limit < num_prompt_tokens ? static_cast<int>(limit) : num_prompt_tokens;
}

int SentenceKvQueries(const PolicyParams& params, int num_prompt_tokens,
                      const SentenceKvOptions& options) {
  const bool filters = NumEligible(params, num_prompt_tokens) < num_prompt_tokens;
  return std::max(options.prompt_queries, filters ? ObservationWindow(params.budget_tokens) : 0);
}

}  // namespace skv::policy
