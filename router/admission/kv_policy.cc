#include "router/admission/kv_policy.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status.h"

namespace skv::router {
namespace {

constexpr int64_t kMinBudget = 16;
constexpr int64_t kMaxBudget = 1 << 24;
constexpr double kMaxSemanticFactor = 1e6;

// The name may be megabytes, and comes back in the message.
std::string Shorten(const std::string& name) { return name.substr(0, 64); }

absl::StatusOr<KvPolicy> Find(const std::string& name, const KvPolicyOffer& offer) {
  const auto found = std::ranges::find(offer.policies, name, &KvPolicy::name);
  if (found != offer.policies.end()) return *found;
  const auto append_name = [](std::string* out, const KvPolicy& p) {
    out->append(Shorten(p.name));
  };
  return absl::InvalidArgumentError(absl::StrCat(
      "kv_policy.name: got \"", Shorten(name), "\", expected one that the workers allow: ",
      absl::StrJoin(offer.policies, ", ", append_name), " (--allowed-kv-policies)"));
}

absl::Status CheckBudget(int64_t budget) {
  if (budget >= kMinBudget && budget <= kMaxBudget) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("kv_policy.max_capacity_prompts: got ", budget,
                                                 ", expected ", kMinBudget, " to ", kMaxBudget));
}

absl::Status CheckSemanticFactor(double factor) {
  if (factor == 0 || (factor >= 1 && factor <= kMaxSemanticFactor)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("kv_policy.semantic_factor: got ", factor,
                                                 ", expected 0 (no filter) or 1 to ",
                                                 static_cast<int64_t>(kMaxSemanticFactor)));
}

template <typename Given, typename Default>
absl::Status CheckIsParameter(std::string_view field, const std::optional<Given>& given,
                              const std::optional<Default>& offered, const KvPolicy& policy,
                              const KvPolicyRequest& request) {
  if (!given || offered) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("kv_policy.", Sv(field), ": got ", *given, ", expected none: policy \"",
                   policy.name, "\"", request.name.empty() ? ", the workers' default," : "",
                   " does not have it, so it would have no effect"));
}

std::string DescribePolicy(const KvPolicy& policy) {
  std::vector<std::string> parameters;
  if (policy.max_capacity_prompts) {
    parameters.push_back(absl::StrCat("max_capacity_prompts ", *policy.max_capacity_prompts));
  }
  if (policy.semantic_factor) {
    parameters.push_back(absl::StrCat("semantic_factor ", *policy.semantic_factor));
  }
  if (parameters.empty()) return policy.name;
  return absl::StrCat(policy.name, " (", absl::StrJoin(parameters, ", "), ")");
}

absl::Status ValidateOffered(const KvPolicy& policy) {
  if (policy.name.empty()) {
    return absl::InvalidArgumentError("kv_policy.name: got none, expected one");
  }
  if (policy.max_capacity_prompts) SKV_RETURN_IF_ERROR(CheckBudget(*policy.max_capacity_prompts));
  if (policy.semantic_factor) SKV_RETURN_IF_ERROR(CheckSemanticFactor(*policy.semantic_factor));
  return absl::OkStatus();
}

}  // namespace

std::string Describe(const KvPolicyOffer& offer) {
  const auto append = [](std::string* out, const KvPolicy& p) { out->append(DescribePolicy(p)); };
  return absl::StrCat("KV policy ", offer.default_name, " of ",
                      absl::StrJoin(offer.policies, ", ", append));
}

absl::Status ValidateOffer(const KvPolicyOffer& offer) {
  SKV_RETURN_IF_ERROR(Annotate(Find(offer.default_name, offer).status(), "default KV policy"));
  for (const KvPolicy& policy : offer.policies) {
    SKV_RETURN_IF_ERROR(Annotate(ValidateOffered(policy), "allowed KV policies"));
  }
  return absl::OkStatus();
}

absl::StatusOr<KvPolicy> ResolveKvPolicy(const KvPolicyRequest& request,
                                         const KvPolicyOffer& offer) {
  SKV_ASSIGN_OR_RETURN(KvPolicy policy,
                       Find(request.name.empty() ? offer.default_name : request.name, offer));
  SKV_RETURN_IF_ERROR(CheckIsParameter("max_capacity_prompts", request.max_capacity_prompts,
                                       policy.max_capacity_prompts, policy, request));
  SKV_RETURN_IF_ERROR(CheckIsParameter("semantic_factor", request.semantic_factor,
                                       policy.semantic_factor, policy, request));
  if (request.max_capacity_prompts) {
    SKV_RETURN_IF_ERROR(CheckBudget(*request.max_capacity_prompts));
    policy.max_capacity_prompts = static_cast<int32_t>(*request.max_capacity_prompts);
  }
  if (request.semantic_factor) {
    SKV_RETURN_IF_ERROR(CheckSemanticFactor(*request.semantic_factor));
    policy.semantic_factor = request.semantic_factor;
  }
  return policy;
}

}  // namespace skv::router
