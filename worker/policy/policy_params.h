#pragma once
// What a request says of its KV policy, and which policies there are.

#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace skv::policy {

inline constexpr int kMinBudgetTokens = 16;
inline constexpr int kMaxBudgetTokens = 1 << 24;
inline constexpr double kMaxSemanticFactor = 1e6;

struct PolicyParams {
  std::string name = "full";
  // Tokens that a generated position attends for each layer and KV head, the recent ones included
  // (--max-capacity-prompts). Without effect where HasBudget says so.
  int budget_tokens = 1024;
  // `sentencekv`: prompt tokens that stay eligible, as a multiple of the budget; 0: all, of
  // `sentencekv_colm2025` 3 times the budget. Without effect where HasSemanticFactor says so.
  double semantic_factor = 0;
  // Least share of full attention's mass that a selection may hold
  // (worker/policy/recall_contract.h); 0: none. Without effect where HasBudget says that the policy
  // attends everything.
  double min_recall = 0;

  bool operator==(const PolicyParams&) const = default;
};

// The names of all policies, in the order of worker/policy/policy_list.h, `full` first.
std::span<const std::string_view> PolicyNames();

// Which parameters a policy has; an unknown one has none. One without a budget attends everything.
bool HasBudget(std::string_view name);
bool HasSemanticFactor(std::string_view name);

// InvalidArgument names the field, what it got and what is expected.
absl::Status Validate(const PolicyParams& params);

// Names everything that a selection depends on beside the text: "sentencekv/budget=1024/factor=0/
// r2". Results that are compared must have equal ones.
std::string Fingerprint(const PolicyParams& params);

}  // namespace skv::policy
