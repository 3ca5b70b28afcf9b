#include "worker/policy/kv_policy.h"

#include <algorithm>
#include <string_view>

#include "common/status.h"
#include "worker/policy/policy_list.h"

namespace skv::policy {

#define SKV_DECLARE_POLICY(name, creator, parameters, queries) \
  PolicyCreator creator;                                       \
  PromptQueryCount queries;
SKV_KV_POLICIES(SKV_DECLARE_POLICY)
#undef SKV_DECLARE_POLICY

namespace {

struct ListedPolicy {
  std::string_view name;
  PolicyCreator* create;
  PromptQueryCount* count_queries;
};

constexpr ListedPolicy kPolicies[] = {
#define SKV_LISTED_POLICY(name, creator, parameters, queries) {name, creator, queries},
    SKV_KV_POLICIES(SKV_LISTED_POLICY)
#undef SKV_LISTED_POLICY
};

// REQUIRES: Validate(params).ok()
const ListedPolicy& Listed(const PolicyParams& params) {
  return *std::ranges::find(kPolicies, params.name, &ListedPolicy::name);
}

}  // namespace

absl::StatusOr<std::unique_ptr<KvPolicy>> CreatePolicy(const PolicyParams& params,
                                                       const SequenceShape& shape,
                                                       const std::vector<Sentence>* sentences) {
  SKV_RETURN_IF_ERROR(Validate(params));
  return Listed(params).create(params, shape, sentences);
}

int NoQueries(const PolicyParams&, int) { return 0; }

int AllQueries(const PolicyParams&, int num_prompt_tokens) { return num_prompt_tokens; }

int PromptQueries(const PolicyParams& params, int num_prompt_tokens) {
  const int learnt_from = Listed(params).count_queries(params, num_prompt_tokens);
  return std::clamp(learnt_from, 1, num_prompt_tokens);
}

}  // namespace skv::policy
