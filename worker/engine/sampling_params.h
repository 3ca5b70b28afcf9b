#pragma once
// How tokens are drawn from logits. Names and meanings as in OpenAI's API and vLLM.

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/types.h"

namespace skv::engine {

struct SamplingParams {
  float temperature = 1.0f;         // 0 to 100; 0 is greedy
  float top_p = 1.0f;               // above 0, at most 1 (off)
  float min_p = 0.0f;               // 0 (off) to 1
  int top_k = 0;                    // 0 or -1 is off
  float repetition_penalty = 1.0f;  // above 0, at most 100; of tokens in prompt or output
  float presence_penalty = 0.0f;    // -2 to 2; of tokens in the output
  float frequency_penalty = 0.0f;   // -2 to 2; for each time that the output has the token
  uint64_t seed = 0;                // of this sample
  std::vector<std::pair<TokenId, float>> logit_bias;  // ascending distinct ids; -100 to 100
  bool logprobs = false;
  int top_logprobs = 0;  // 0 to 20; needs logprobs
  bool ignore_eos = false;
  std::vector<TokenId> stop_token_ids;  // beside the model's own end-of-generation tokens

  static constexpr int kMaxTopLogprobs = 20;
  static constexpr int kMaxLogitBias = 1024;
  static constexpr int kMaxStopTokenIds = 256;

  // InvalidArgument names the field, what it holds and its range; NaN and infinities are outside of
  // every range.
  absl::Status Validate(int vocab_size) const;

  bool has_penalties() const {
    return repetition_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f;
  }
};

}  // namespace skv::engine
