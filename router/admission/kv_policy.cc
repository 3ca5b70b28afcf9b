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

const std::vector<std::string>& KnownPolicies() {
  static const auto* const names = new std::vector<std::string>{"full", "sentencekv"};
  return *names;
}

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

// The name may be megabytes, and comes back in the message.
std::string Shorten(const std::string& name) { return name.substr(0, 64); }

absl::Status CheckName(const std::string& name, const KvPolicyOffer& offer) {
  if (!Contains(KnownPolicies(), name)) {
    return absl::InvalidArgumentError(absl::StrCat("kv_policy.name: got \"", Shorten(name),
                                                   "\", expected one of ",
                                                   absl::StrJoin(KnownPolicies(), ", ")));
  }
  if (Contains(offer.allowed, name)) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("kv_policy.name: got \"", name, "\", expected one that the workers allow: ",
                   absl::StrJoin(offer.allowed, ", "), " (--allowed-kv-policies)"));
}

absl::Status CheckRanges(int64_t max_capacity_prompts, double semantic_factor) {
  if (max_capacity_prompts < kMinBudget || max_capacity_prompts > kMaxBudget) {
    return absl::InvalidArgumentError(absl::StrCat("kv_policy.max_capacity_prompts: got ",
                                                   max_capacity_prompts, ", expected ", kMinBudget,
                                                   " to ", kMaxBudget));
  }
  const double factor = semantic_factor;
  if (factor == 0 || (factor >= 1 && factor <= kMaxSemanticFactor)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("kv_policy.semantic_factor: got ", factor,
                                                 ", expected 0 (no filter) or 1 to ",
                                                 static_cast<int64_t>(kMaxSemanticFactor)));
}

absl::Status CheckHasNoParameters(const KvPolicyRequest& request, const std::string& name) {
  const char* const field = request.max_capacity_prompts ? "max_capacity_prompts"
                            : request.semantic_factor    ? "semantic_factor"
                                                         : nullptr;
  if (field == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("kv_policy.", field, ": got ",
                   request.max_capacity_prompts ? absl::StrCat(*request.max_capacity_prompts)
                                                : absl::StrCat(*request.semantic_factor),
                   ", expected none: policy \"", name, "\"",
                   request.name.empty() ? ", the workers' default," : "",
                   " has no parameters, so it would have no effect"));
}

}  // namespace

std::string Describe(const KvPolicyOffer& offer) {
  const KvPolicy& policy = offer.default_policy;
  return absl::StrCat("KV policy ", policy.name, " (max_capacity_prompts ",
                      policy.max_capacity_prompts, ", semantic_factor ", policy.semantic_factor,
                      ") of ", absl::StrJoin(offer.allowed, ", "));
}

absl::Status ValidateOffer(const KvPolicyOffer& offer) {
  for (const std::string& name : offer.allowed) {
    if (!Contains(KnownPolicies(), name)) {
      return absl::InvalidArgumentError(absl::StrCat("allowed KV policies: got \"", Shorten(name),
                                                     "\", expected only ",
                                                     absl::StrJoin(KnownPolicies(), ", ")));
    }
  }
  const KvPolicy& policy = offer.default_policy;
  absl::Status status = CheckName(policy.name, offer);
  if (status.ok()) status = CheckRanges(policy.max_capacity_prompts, policy.semantic_factor);
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat("default KV policy: ", status.message()));
}

absl::StatusOr<KvPolicy> ResolveKvPolicy(const KvPolicyRequest& request,
                                         const KvPolicyOffer& offer) {
  KvPolicy policy = offer.default_policy;
  if (!request.name.empty()) policy.name = request.name;
  SKV_RETURN_IF_ERROR(CheckName(policy.name, offer));
  if (policy.name == "full") SKV_RETURN_IF_ERROR(CheckHasNoParameters(request, policy.name));
  const int64_t budget = request.max_capacity_prompts.value_or(policy.max_capacity_prompts);
  policy.semantic_factor = request.semantic_factor.value_or(policy.semantic_factor);
  SKV_RETURN_IF_ERROR(CheckRanges(budget, policy.semantic_factor));
  policy.max_capacity_prompts = static_cast<int32_t>(budget);
  return policy;
}

}  // namespace skv::router
