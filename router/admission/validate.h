#pragma once
// Checks every field of a request and turns it into what a worker group gets. Pure: no clock, no
// I/O.

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/types.h"
#include "router/admission/group_request.h"
#include "router/admission/request.h"

namespace skv::router {

// Ranges of skv.v1.GenerateRequest that no model widens.
inline constexpr int64_t kMaxSamples = 128;
inline constexpr int64_t kMaxTopLogprobs = 20;
inline constexpr int64_t kMaxPriority = 100;
inline constexpr int64_t kMaxExplainTop = 32;
inline constexpr int64_t kDefaultExplainTop = 5;
inline constexpr size_t kMaxStopStrings = 64;
inline constexpr size_t kMaxStopStringBytes = 256;
inline constexpr size_t kMaxStopTokens = 256;
inline constexpr size_t kMaxLogitBiases = 1024;
inline constexpr size_t kMaxRequestIdBytes = 128;
inline constexpr size_t kMaxCacheSaltBytes = 128;
inline constexpr size_t kMaxTraceparentBytes = 256;

struct ModelLimits {
  int64_t context_length = 0;
  int64_t vocab_size = 0;
  // The context full of the longest token. A longer text is refused before it is tokenised, even
  // where the vocabulary lacks tokens for some bytes, so that it might fit.
  size_t max_prompt_bytes = 0;
  KvPolicyOffer kv_policies;
};

// Everything that can be said before tokenisation. InvalidArgument names field, value and range;
// Unimplemented names a field that is not served yet.
absl::Status ValidateRequest(const Request& request, const ModelLimits& limits);

// REQUIRES: ValidateRequest was OK. `drawn_seed` is used when the request has none; the request_id
// is left to the caller.
// InvalidArgument: no prompt token, or prompt and max_tokens over the context.
absl::StatusOr<GroupRequest> BuildGroupRequest(const Request& request, const ModelLimits& limits,
                                               std::vector<TokenId> prompt_ids,
                                               uint64_t drawn_seed);

// The seed of sample `sample_idx`: `seed` itself for the first, well mixed for the others.
uint64_t SampleSeed(uint64_t seed, uint64_t sample_idx);

}  // namespace skv::router
