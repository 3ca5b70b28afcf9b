#pragma once
// The KV policy of a request: what a client may say of it, what workers offer, what comes of both.
// skv.v1.KvPolicy (proto/skv/v1/generation.proto) documents names, ranges and defaults. Which
// policies there are and what parameters they have is the workers' to say.

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

// Set are the parameters that the policy has.
struct KvPolicy {
  std::string name = "full";
  std::optional<int32_t> max_capacity_prompts;
  std::optional<double> semantic_factor;

  bool operator==(const KvPolicy&) const = default;
};

// What a worker group offers.
struct KvPolicyOffer {
  std::string default_name = "full";         // one of `policies`
  std::vector<KvPolicy> policies{{"full"}};  // with the values of requests that give none

  bool operator==(const KvPolicyOffer&) const = default;
};

// For messages: "KV policy full of full, sentencekv (max_capacity_prompts 1024, semantic_factor
// 0)".
std::string Describe(const KvPolicyOffer& offer);

// InvalidArgument: an offer that no worker makes; the peer is not trusted.
absl::Status ValidateOffer(const KvPolicyOffer& offer);

// The policy with every default filled in. InvalidArgument: a name that is not offered, a parameter
// that is out of range or that the policy does not have.
absl::StatusOr<KvPolicy> ResolveKvPolicy(const KvPolicyRequest& request,
                                         const KvPolicyOffer& offer);

}  // namespace skv::router
