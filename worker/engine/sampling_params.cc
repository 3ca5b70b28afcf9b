#include "worker/engine/sampling_params.h"

#include <cmath>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::engine {
namespace {

template <typename Number>
absl::Status OutOfRange(std::string_view field, Number value, std::string_view range) {
  return absl::InvalidArgumentError(
      absl::StrCat(Sv(field), " is ", value, ", expected ", Sv(range)));
}

// Written so that NaN fails.
template <typename Number>
absl::Status CheckWithin(std::string_view field, Number value, Number min, Number max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return OutOfRange(field, value, absl::StrCat(min, " to ", max));
}

absl::Status CheckAbove(std::string_view field, float value, float min, float max) {
  if (value > min && value <= max) return absl::OkStatus();
  return OutOfRange(field, value, absl::StrCat("above ", min, ", at most ", max));
}

absl::Status CheckCount(std::string_view field, size_t count, int max) {
  if (count <= static_cast<size_t>(max)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(Sv(field), " has ", count, " entries, expected at most ", max));
}

absl::Status CheckToken(std::string_view field, TokenId token, int vocab_size) {
  if (token >= 0 && token < vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      Sv(field), " names token ", token, ", expected 0 to ", vocab_size - 1, ", the vocabulary"));
}

absl::Status CheckLogitBias(const SamplingParams& params, int vocab_size) {
  SKV_RETURN_IF_ERROR(
      CheckCount("logit_bias", params.logit_bias.size(), SamplingParams::kMaxLogitBias));
  TokenId previous = -1;
  for (const auto& [token, bias] : params.logit_bias) {
    SKV_RETURN_IF_ERROR(CheckToken("logit_bias", token, vocab_size));
    if (token <= previous) {
      return absl::InvalidArgumentError(absl::StrCat("logit_bias names token ", token, " after ",
                                                     previous, ", expected ascending ids"));
    }
    previous = token;
    SKV_RETURN_IF_ERROR(
        CheckWithin(absl::StrCat("logit_bias of token ", token), bias, -100.0f, 100.0f));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SamplingParams::Validate(int vocab_size) const {
  SKV_RETURN_IF_ERROR(CheckWithin("temperature", temperature, 0.0f, 100.0f));
  SKV_RETURN_IF_ERROR(CheckAbove("top_p", top_p, 0, 1));
  SKV_RETURN_IF_ERROR(CheckWithin("min_p", min_p, 0.0f, 1.0f));
  SKV_RETURN_IF_ERROR(CheckWithin("top_k", top_k, -1, vocab_size));
  SKV_RETURN_IF_ERROR(CheckAbove("repetition_penalty", repetition_penalty, 0, 100));
  SKV_RETURN_IF_ERROR(CheckWithin("presence_penalty", presence_penalty, -2.0f, 2.0f));
  SKV_RETURN_IF_ERROR(CheckWithin("frequency_penalty", frequency_penalty, -2.0f, 2.0f));
  SKV_RETURN_IF_ERROR(CheckLogitBias(*this, vocab_size));
  SKV_RETURN_IF_ERROR(CheckWithin("top_logprobs", top_logprobs, 0, kMaxTopLogprobs));
  if (top_logprobs > 0 && !logprobs) {
    return absl::InvalidArgumentError(
        absl::StrCat("top_logprobs is ", top_logprobs, " without logprobs; set logprobs too"));
  }
  SKV_RETURN_IF_ERROR(CheckCount("stop_token_ids", stop_token_ids.size(), kMaxStopTokenIds));
  for (const TokenId token : stop_token_ids) {
    SKV_RETURN_IF_ERROR(CheckToken("stop_token_ids", token, vocab_size));
  }
  return absl::OkStatus();
}

}  // namespace skv::engine
