#pragma once
// Which KV policies a worker offers and how closely it watches them, as flags: skv-worker's, and
// those that `skv cluster up` hands on to its workers.

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/flags.h"
#include "worker/policy/policy_params.h"

namespace skv::server {

struct PolicyOffer {
  policy::PolicyParams default_policy;  // of requests that name none, or no parameter
  std::vector<std::string> allowed{policy::PolicyNames().begin(), policy::PolicyNames().end()};
  double audit_fraction = 0.002;  // share of generated positions whose selections are audited
};

// --kv-policy, --max-capacity-prompts, --semantic-factor, --allowed-kv-policies, --audit-fraction.
void AddPolicyFlags(PolicyOffer* offer, Flags* flags);

// The flags that make another process offer the same.
std::vector<std::string> ToArguments(const PolicyOffer& offer);

// InvalidArgument: an unknown policy, a value out of range, a default that is not allowed.
absl::Status Validate(const PolicyOffer& offer);

}  // namespace skv::server
