#pragma once
// What a worker group gets: the admitted form of a Request.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/types.h"
#include "router/admission/kv_policy.h"

namespace skv::router {

struct SamplingParams {
  double temperature = 1;
  double top_p = 1;
  int32_t top_k = 0;
  double min_p = 0;
  double repetition_penalty = 1;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  std::vector<std::pair<TokenId, double>> logit_bias;  // ascending distinct ids
  bool logprobs = false;
  int32_t top_logprobs = 0;
};

// One admitted request: every field checked, every default filled in.
struct GroupRequest {
  std::string request_id;  // drawn: unique on the worker, whatever id the client gave
  std::vector<TokenId> prompt_ids;
  SamplingParams sampling;
  std::vector<uint64_t> seeds;  // one for each sample
  int32_t max_tokens = 0;
  std::vector<TokenId> stop_token_ids;
  bool ignore_eos = false;
  int32_t priority = 0;
  KvPolicy kv_policy;
  double min_recall = 0;    // 0: none
  int32_t explain_top = 0;  // 0: nothing is explained
  std::string cache_salt;   // empty: none
  std::string traceparent;

  // Tokens that a group has to process for this request, at most.
  int64_t NumTokens() const {
    return static_cast<int64_t>(prompt_ids.size()) +
           static_cast<int64_t>(max_tokens) * static_cast<int64_t>(seeds.size());
  }
};

}  // namespace skv::router
