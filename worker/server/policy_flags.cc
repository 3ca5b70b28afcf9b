#include "worker/server/policy_flags.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status.h"

namespace skv::server {

void AddPolicyFlags(PolicyOffer* offer, Flags* flags) {
  policy::PolicyParams* const params = &offer->default_policy;
  const auto names = policy::PolicyNames();
  flags->AddChoice("kv-policy", &params->name, {names.begin(), names.end()},
                   "KV policy of requests that name none");
  flags->Add("max-capacity-prompts", &params->budget_tokens,
             IntRange{policy::kMinBudgetTokens, policy::kMaxBudgetTokens},
             "Budget of requests that give none: most tokens that a generated token attends");
  flags->Add(
      "semantic-factor", &params->semantic_factor, RealRange{0, policy::kMaxSemanticFactor},
      "sentencekv: prompt tokens that stay eligible, as a multiple of the budget; 0: all, of "
      "sentencekv_colm2025 3 times");
  flags->Add("allowed-kv-policies", &offer->allowed, "KV policies that requests may name");
  flags->Add(
      "audit-fraction", &offer->audit_fraction, RealRange{0, 1},
      "Share of generated tokens for which full attention is computed as well, for metrics of "
      "what the KV policy misses; 0: none");
}

std::vector<std::string> ToArguments(const PolicyOffer& offer) {
  const policy::PolicyParams& params = offer.default_policy;
  return {"--kv-policy",
          params.name,
          "--max-capacity-prompts",
          absl::StrCat(params.budget_tokens),
          "--semantic-factor",
          absl::StrCat(params.semantic_factor),
          "--allowed-kv-policies",
          absl::StrJoin(offer.allowed, ","),
          "--audit-fraction",
          absl::StrCat(offer.audit_fraction)};
}

absl::Status Validate(const PolicyOffer& offer) {
  SKV_RETURN_IF_ERROR(Annotate(policy::Validate(offer.default_policy),
                               "--kv-policy, --max-capacity-prompts, --semantic-factor"));
  for (const std::string& name : offer.allowed) {
    SKV_RETURN_IF_ERROR(Annotate(policy::Validate({.name = name}), "--allowed-kv-policies"));
  }
  if (std::ranges::find(offer.allowed, offer.default_policy.name) != offer.allowed.end()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--kv-policy: got ", offer.default_policy.name,
      ", expected one of --allowed-kv-policies: ", absl::StrJoin(offer.allowed, ", ")));
}

}  // namespace skv::server
