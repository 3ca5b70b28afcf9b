#include "worker/policy/policy_params.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status.h"
#include "worker/policy/policy_list.h"

namespace skv::policy {
namespace {

// Raised whenever a policy of the same parameters selects otherwise than before.
constexpr int kRevision = 8;

enum class Parameters { kNone, kBudget, kBudgetAndFactor };
using enum Parameters;

constexpr std::string_view kNames[] = {
#define SKV_NAME(name, creator, parameters, queries) name,
    SKV_KV_POLICIES(SKV_NAME)
#undef SKV_NAME
};

constexpr Parameters kParameters[] = {
#define SKV_PARAMETERS(name, creator, parameters, queries) parameters,
    SKV_KV_POLICIES(SKV_PARAMETERS)
#undef SKV_PARAMETERS
};

Parameters ParametersOf(std::string_view name) {
  const auto* const found = std::ranges::find(kNames, name);
  return found == std::end(kNames) ? kNone : kParameters[found - std::begin(kNames)];
}

}  // namespace

std::span<const std::string_view> PolicyNames() { return kNames; }

bool HasBudget(std::string_view name) { return ParametersOf(name) != kNone; }

bool HasSemanticFactor(std::string_view name) { return ParametersOf(name) == kBudgetAndFactor; }

absl::Status Validate(const PolicyParams& params) {
  if (std::ranges::find(kNames, params.name) == std::end(kNames)) {
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
  if (!(params.min_recall >= 0 && params.min_recall <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("min_recall: ", params.min_recall, ", expected 0 (none) to 1"));
  }
  return absl::OkStatus();
}

std::string Fingerprint(const PolicyParams& params) {
  if (!HasBudget(params.name)) return params.name;
  std::string text = absl::StrCat(params.name, "/budget=", params.budget_tokens);
  if (HasSemanticFactor(params.name)) absl::StrAppend(&text, "/factor=", params.semantic_factor);
  if (params.min_recall > 0) absl::StrAppend(&text, "/min_recall=", params.min_recall);
  return absl::StrCat(text, "/r", kRevision);
}

}  // namespace skv::policy
