#pragma once
// The KV policy of a request: what a client may say of it, what workers offer, what comes of both.
// skv.v1.KvPolicy (proto/skv/v1/generation.proto) documents names, ranges and defaults.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace skv::router {

// As the client sent it; what is not set is the worker's to say.
struct KvPolicyRequest {
  std::string name;
  std::optional<int64_t> max_capacity_prompts;
  std::optional<double> semantic_factor;
};

struct KvPolicy {
  std::string name = "full";
  int32_t max_capacity_prompts = 1024;
  double semantic_factor = 0;

  bool operator==(const KvPolicy&) const = default;
};

// What a worker group offers.
struct KvPolicyOffer {
  KvPolicy default_policy;
  std::vector<std::string> allowed{"full"};  // holds the default's name

  bool operator==(const KvPolicyOffer&) const = default;
};

// For messages: "KV policy sentencekv (max_capacity_prompts 1024, semantic_factor 0) of full,
// sentencekv".
std::string Describe(const KvPolicyOffer& offer);

// InvalidArgument: an offer that no worker makes; the peer is not trusted.
absl::Status ValidateOffer(const KvPolicyOffer& offer);

// The policy with every default filled in. InvalidArgument: an unknown name, a parameter that is
// out of range or that the policy does not have. PermissionDenied: a name that is not allowed.
absl::StatusOr<KvPolicy> ResolveKvPolicy(const KvPolicyRequest& request,
                                         const KvPolicyOffer& offer);

}  // namespace skv::router
