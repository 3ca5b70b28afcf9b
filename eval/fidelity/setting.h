#pragma once
// What is measured: a KV policy with its parameters.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/policy/kv_policy.h"
#include "worker/policy/sentencekv_options.h"

namespace skv::eval {

struct Setting {
  policy::PolicyParams params;
  policy::SentenceKvOptions sentencekv;  // of policy `sentencekv`; no request can choose them
  // Its selections are scored where full attention goes, and no sequence attends them.
  bool shadow_only = false;

  // "sentencekv/budget=1024/factor=0/r8/digest=mean", "oracle_topk/budget=1024/r8/shadow".
  std::string name() const;
};

// "sentencekv:budget=1024,factor=0,found=1;full" to policies. InvalidArgument names the part at
// fault. The options of `sentencekv` are those of eval/fidelity/sentencekv_variant.h.
absl::StatusOr<std::vector<Setting>> ParsePolicies(std::string_view text);

// `policies`, and behind them for each of their budgets what they are compared with, in the shadow
// only: oracles and chance.
std::vector<Setting> WithReferences(const std::vector<Setting>& policies);

// The setting's policy. Errors of policy::CreatePolicy.
absl::StatusOr<std::unique_ptr<policy::KvPolicy>> CreatePolicy(
    const Setting& setting, const policy::SequenceShape& shape,
    const std::vector<policy::Sentence>* sentences);

}  // namespace skv::eval
