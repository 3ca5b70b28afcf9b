#pragma once
// What is measured: a KV policy with its parameters, or a reference of the same budget.

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/policy/policy_params.h"

namespace skv::eval {

enum class SettingKind { kPolicy, kOracleTopK, kOracleSentence, kOracleSentencePerToken, kRandom };

struct Setting {
  SettingKind kind;
  policy::PolicyParams params;  // of a reference: its budget alone counts

  // "sentencekv/budget=1024/factor=0/r1", "oracle_topk/budget=1024": equal names, equal selections.
  std::string name() const;
  // "sentencekv", "oracle_topk".
  std::string_view family() const;
};

// "sentencekv:budget=1024,factor=0;full" to policies. InvalidArgument names the part at fault.
absl::StatusOr<std::vector<Setting>> ParsePolicies(std::string_view text);

// `policies`, and behind them every reference of each of their budgets.
std::vector<Setting> WithReferences(const std::vector<Setting>& policies);

}  // namespace skv::eval
