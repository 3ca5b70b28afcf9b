#include "worker/policy/policy_params.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status.h"

namespace skv::policy {
namespace {

// Raised whenever a policy of the same parameters selects otherwise than before.
constexpr int kRevision = 1;

constexpr std::array<std::string_view, 2> kNames = {"full", "sentencekv"};

}  // namespace

std::span<const std::string_view> PolicyNames() { return kNames; }

absl::Status Validate(const PolicyParams& params) {
  if (std::find(kNames.begin(), kNames.end(), params.name) == kNames.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "kv_policy.name: \"", params.name, "\" is unknown, expected one of ",
        absl::StrJoin(kNames, ", ",
                      [](std::string* out, std::string_view name) { out->append(name); })));
  }
  if (params.budget_tokens < kMinBudgetTokens || params.budget_tokens > kMaxBudgetTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("kv_policy.max_capacity_prompts: ", params.budget_tokens, ", expected ",
                     kMinBudgetTokens, " to ", kMaxBudgetTokens));
  }
  const double factor = params.semantic_factor;
  if (!(factor == 0 || (factor >= 1 && factor <= kMaxSemanticFactor))) {
    return absl::InvalidArgumentError(absl::StrCat("kv_policy.semantic_factor: ", factor,
                                                   ", expected 0 (no filter) or 1 to ",
                                                   kMaxSemanticFactor));
  }
  return absl::OkStatus();
}

std::string Fingerprint(const PolicyParams& params) {
  if (params.name == "full") return "full";
  std::string text = absl::StrCat(params.name, "/budget=", params.budget_tokens);
  if (params.name == "sentencekv") absl::StrAppend(&text, "/factor=", params.semantic_factor);
  return absl::StrCat(text, "/r", kRevision);
}

}  // namespace skv::policy
