#pragma once
// What is measured: a KV policy with its parameters.

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/policy/policy_params.h"

namespace skv::eval {

struct Setting {
  policy::PolicyParams params;
  // Its selections are scored where full attention goes, and no sequence attends them.
  bool shadow_only = false;

  // "sentencekv/budget=1024/factor=0/r4", "oracle_topk/budget=1024/r4/shadow".
  std::string name() const;
};

// "sentencekv:budget=1024,factor=0;full" to policies. InvalidArgument names the part at fault.
absl::StatusOr<std::vector<Setting>> ParsePolicies(std::string_view text);

// `policies`, and behind them for each of their budgets what they are compared with, in the shadow
// only: oracles and chance.
std::vector<Setting> WithReferences(const std::vector<Setting>& policies);

}  // namespace skv::eval
