#include "router/admission/validate.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "text/chat_template.h"
#include "text/utf8.h"

namespace skv::router {
namespace {

constexpr double kMaxTemperature = 100;
constexpr double kMaxRepetitionPenalty = 100;
constexpr double kMaxAdditivePenalty = 2;
constexpr double kMaxLogitBias = 100;

template <typename T>
absl::Status OutOfRange(std::string_view field, T got, std::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat(Sv(field), ": got ", got, ", expected ", Sv(expected)));
}

absl::Status CheckInt(std::string_view field, const std::optional<int64_t>& value, int64_t low,
                      int64_t high) {
  if (!value.has_value() || (*value >= low && *value <= high)) return absl::OkStatus();
  return OutOfRange(field, *value, absl::StrCat(low, " to ", high));
}

// Written so that NaN fails.
absl::Status CheckReal(std::string_view field, const std::optional<double>& value, double low,
                       double high) {
  if (!value.has_value() || (*value >= low && *value <= high)) return absl::OkStatus();
  return OutOfRange(field, *value, absl::StrCat(low, " to ", high));
}

absl::Status CheckPositive(std::string_view field, const std::optional<double>& value,
                           double high) {
  // Workers get single precision.
  if (!value.has_value() || (static_cast<float>(*value) > 0 && *value <= high)) {
    return absl::OkStatus();
  }
  return OutOfRange(field, *value, absl::StrCat("above 0, at most ", high));
}

absl::Status CheckUtf8(std::string_view field, std::string_view text) {
  return text::ValidateUtf8(text, field);
}

absl::Status CheckPromptBytes(std::string_view field, size_t num_bytes, const ModelLimits& limits) {
  if (num_bytes <= limits.max_prompt_bytes) return absl::OkStatus();
  return OutOfRange(field, absl::StrCat(num_bytes, " bytes"),
                    absl::StrCat("at most ", limits.max_prompt_bytes, " (what the context of ",
                                 limits.context_length, " tokens can hold)"));
}

absl::Status CheckText(const TextPrompt& prompt, const ModelLimits& limits) {
  if (prompt.text.empty()) {
    return absl::InvalidArgumentError("text: got an empty prompt, expected at least one byte");
  }
  SKV_RETURN_IF_ERROR(CheckPromptBytes("text", prompt.text.size(), limits));
  return CheckUtf8("text", prompt.text);
}

absl::Status CheckChat(const ChatPrompt& prompt, const ModelLimits& limits) {
  if (prompt.messages.empty()) {
    return absl::InvalidArgumentError("chat.messages: got none, expected at least one");
  }
  if (prompt.messages.size() > text::ChatTemplate::kMaxMessages) {
    return OutOfRange("chat.messages", prompt.messages.size(),
                      absl::StrCat("at most ", text::ChatTemplate::kMaxMessages));
  }
  size_t num_bytes = 0;
  for (size_t i = 0; i < prompt.messages.size(); ++i) {
    const ChatMessage& message = prompt.messages[i];
    const std::string field = absl::StrCat("chat.messages[", i, "]");
    if (std::ranges::find(text::ChatTemplate::kRoles, message.role) ==
        text::ChatTemplate::kRoles.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, ".role: got ", message.role.size(),
                       " bytes that are not one of \"system\", \"user\", \"assistant\", \"tool\""));
    }
    SKV_RETURN_IF_ERROR(CheckUtf8(field + ".content", message.content));
    num_bytes += message.content.size();
  }
  return CheckPromptBytes("chat.messages", num_bytes, limits);
}

absl::Status CheckTokenIds(std::string_view field, const std::vector<int64_t>& ids,
                           const ModelLimits& limits) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < limits.vocab_size) continue;
    return absl::InvalidArgumentError(absl::StrCat(Sv(field), "[", i, "]: got ", ids[i],
                                                   ", expected 0 to ", limits.vocab_size - 1));
  }
  return absl::OkStatus();
}

absl::Status CheckPrompt(const Request& request, const ModelLimits& limits) {
  const Prompt& prompt = request.prompt;
  if (const auto* text = std::get_if<TextPrompt>(&prompt)) return CheckText(*text, limits);
  if (request.parse_special) {
    return absl::InvalidArgumentError(
        "parse_special: got true without text, expected false: only text is searched for special "
        "tokens");
  }
  if (const auto* chat = std::get_if<ChatPrompt>(&prompt)) return CheckChat(*chat, limits);
  if (const auto* tokens = std::get_if<TokenPrompt>(&prompt)) {
    if (tokens->ids.empty()) {
      return absl::InvalidArgumentError("token_ids: got none, expected at least one");
    }
    if (tokens->ids.size() > static_cast<size_t>(limits.context_length)) {
      return OutOfRange("token_ids", absl::StrCat(tokens->ids.size(), " tokens"),
                        absl::StrCat("at most ", limits.context_length, " (the model's context)"));
    }
    return CheckTokenIds("token_ids", tokens->ids, limits);
  }
  return absl::InvalidArgumentError("prompt: got none, expected one of text, chat, token_ids");
}

absl::Status CheckSampling(const Request& request, const ModelLimits& limits) {
  SKV_RETURN_IF_ERROR(CheckReal("temperature", request.temperature, 0, kMaxTemperature));
  SKV_RETURN_IF_ERROR(CheckPositive("top_p", request.top_p, 1));
  SKV_RETURN_IF_ERROR(CheckInt("top_k", request.top_k, 0, limits.vocab_size));
  SKV_RETURN_IF_ERROR(CheckReal("min_p", request.min_p, 0, 1));
  SKV_RETURN_IF_ERROR(
      CheckPositive("repetition_penalty", request.repetition_penalty, kMaxRepetitionPenalty));
  SKV_RETURN_IF_ERROR(CheckReal("presence_penalty", request.presence_penalty, -kMaxAdditivePenalty,
                                kMaxAdditivePenalty));
  SKV_RETURN_IF_ERROR(CheckReal("frequency_penalty", request.frequency_penalty,
                                -kMaxAdditivePenalty, kMaxAdditivePenalty));
  SKV_RETURN_IF_ERROR(CheckInt("top_logprobs", request.top_logprobs, 0, kMaxTopLogprobs));
  if (request.top_logprobs.value_or(0) > 0 && !request.logprobs) {
    return OutOfRange("top_logprobs", *request.top_logprobs, "0 while logprobs is false");
  }
  if (request.logit_bias.size() > kMaxLogitBiases) {
    return OutOfRange("logit_bias", request.logit_bias.size(),
                      absl::StrCat("at most ", kMaxLogitBiases, " entries"));
  }
  for (const auto& [id, bias] : request.logit_bias) {
    SKV_RETURN_IF_ERROR(CheckInt("logit_bias key", id, 0, limits.vocab_size - 1));
    SKV_RETURN_IF_ERROR(
        CheckReal(absl::StrCat("logit_bias[", id, "]"), bias, -kMaxLogitBias, kMaxLogitBias));
  }
  return absl::OkStatus();
}

absl::Status CheckMinRecall(const std::optional<double>& min_recall) {
  if (!min_recall.has_value() || (*min_recall > 0 && *min_recall <= 1)) return absl::OkStatus();
  return OutOfRange("min_recall", *min_recall, "above 0, at most 1");
}

absl::Status CheckExplain(const Request& request) {
  SKV_RETURN_IF_ERROR(CheckInt("explain_top", request.explain_top, 1, kMaxExplainTop));
  if (!request.explain_top.has_value() || request.explain) return absl::OkStatus();
  return OutOfRange("explain_top", *request.explain_top, "none while explain is false");
}

absl::Status CheckStops(const Request& request, const ModelLimits& limits) {
  if (request.stop.size() > kMaxStopStrings) {
    return OutOfRange("stop", request.stop.size(),
                      absl::StrCat("at most ", kMaxStopStrings, " strings"));
  }
  for (size_t i = 0; i < request.stop.size(); ++i) {
    const std::string field = absl::StrCat("stop[", i, "]");
    const size_t size = request.stop[i].size();
    if (size == 0 || size > kMaxStopStringBytes) {
      return OutOfRange(field, absl::StrCat(size, " bytes"),
                        absl::StrCat("1 to ", kMaxStopStringBytes));
    }
    SKV_RETURN_IF_ERROR(CheckUtf8(field, request.stop[i]));
  }
  if (request.stop_token_ids.size() > kMaxStopTokens) {
    return OutOfRange("stop_token_ids", request.stop_token_ids.size(),
                      absl::StrCat("at most ", kMaxStopTokens, " ids"));
  }
  return CheckTokenIds("stop_token_ids", request.stop_token_ids, limits);
}

absl::Status CheckCacheSalt(const std::optional<std::string>& salt) {
  if (!salt.has_value()) return absl::OkStatus();
  if (salt->empty() || salt->size() > kMaxCacheSaltBytes) {
    return OutOfRange("cache_salt", absl::StrCat(salt->size(), " bytes"),
                      absl::StrCat("1 to ", kMaxCacheSaltBytes));
  }
  return CheckUtf8("cache_salt", *salt);
}

absl::Status CheckRequestId(const Request& request) {
  // A header value that reaches logs must not be able to forge a line.
  const bool printable =
      std::ranges::all_of(request.request_id, [](char c) { return c > ' ' && c <= '~'; });
  if (printable && request.request_id.size() <= kMaxRequestIdBytes) return absl::OkStatus();
  return OutOfRange("request_id", absl::StrCat(request.request_id.size(), " bytes"),
                    absl::StrCat("at most ", kMaxRequestIdBytes,
                                 " characters of printable ASCII without blanks"));
}

SamplingParams BuildSampling(const Request& request) {
  const SamplingParams defaults;
  SamplingParams params;
  params.temperature = request.temperature.value_or(defaults.temperature);
  params.top_p = request.top_p.value_or(defaults.top_p);
  params.top_k = static_cast<int32_t>(request.top_k.value_or(defaults.top_k));
  params.min_p = request.min_p.value_or(defaults.min_p);
  params.repetition_penalty = request.repetition_penalty.value_or(defaults.repetition_penalty);
  params.presence_penalty = request.presence_penalty.value_or(defaults.presence_penalty);
  params.frequency_penalty = request.frequency_penalty.value_or(defaults.frequency_penalty);
  for (const auto& [id, bias] : request.logit_bias) {
    params.logit_bias.emplace_back(static_cast<TokenId>(id), bias);
  }
  params.logprobs = request.logprobs;
  params.top_logprobs = static_cast<int32_t>(request.top_logprobs.value_or(0));
  return params;
}

}  // namespace

absl::Status ValidateRequest(const Request& request, const ModelLimits& limits) {
  if (!request.unserved_field.empty()) {
    return absl::UnimplementedError(
        absl::StrCat(request.unserved_field, ": not served by this version; leave it unset"));
  }
  SKV_RETURN_IF_ERROR(CheckRequestId(request));
  SKV_RETURN_IF_ERROR(CheckInt("max_tokens", request.max_tokens, 1, limits.context_length));
  SKV_RETURN_IF_ERROR(CheckInt("n", request.n, 1, kMaxSamples));
  SKV_RETURN_IF_ERROR(CheckInt("priority", request.priority, -kMaxPriority, kMaxPriority));
  SKV_RETURN_IF_ERROR(CheckExplain(request));
  SKV_RETURN_IF_ERROR(CheckSampling(request, limits));
  SKV_RETURN_IF_ERROR(CheckStops(request, limits));
  SKV_RETURN_IF_ERROR(ResolveKvPolicy(request.kv_policy, limits.kv_policies).status());
  SKV_RETURN_IF_ERROR(CheckMinRecall(request.min_recall));
  SKV_RETURN_IF_ERROR(CheckCacheSalt(request.cache_salt));
  return CheckPrompt(request, limits);
}

absl::StatusOr<GroupRequest> BuildGroupRequest(const Request& request, const ModelLimits& limits,
                                               std::vector<TokenId> prompt_ids,
                                               uint64_t drawn_seed) {
  const int64_t num_prompt = static_cast<int64_t>(prompt_ids.size());
  if (num_prompt == 0) return absl::InvalidArgumentError("prompt: got no token, expected one");
  const int64_t room = limits.context_length - num_prompt;
  if (room < request.max_tokens.value_or(1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "prompt: got ", num_prompt, " tokens and max_tokens ", request.max_tokens.value_or(1),
        ", expected at most ", limits.context_length, " together (the model's context)"));
  }
  GroupRequest result;
  result.prompt_ids = std::move(prompt_ids);
  result.sampling = BuildSampling(request);
  const int64_t num_samples = request.n.value_or(1);
  for (int64_t i = 0; i < num_samples; ++i) {
    result.seeds.push_back(SampleSeed(request.seed.value_or(drawn_seed), i));
  }
  result.max_tokens = static_cast<int32_t>(request.max_tokens.value_or(room));
  result.stop_token_ids.assign(request.stop_token_ids.begin(), request.stop_token_ids.end());
  result.ignore_eos = request.ignore_eos;
  result.priority = static_cast<int32_t>(request.priority.value_or(0));
  SKV_ASSIGN_OR_RETURN(result.kv_policy, ResolveKvPolicy(request.kv_policy, limits.kv_policies));
  result.min_recall = request.min_recall.value_or(0);
  if (request.explain) {
    result.explain_top = static_cast<int32_t>(request.explain_top.value_or(kDefaultExplainTop));
  }
  result.cache_salt = request.cache_salt.value_or("");
  if (request.traceparent.size() <= kMaxTraceparentBytes) result.traceparent = request.traceparent;
  return result;
}

uint64_t SampleSeed(uint64_t seed, uint64_t sample_idx) {
  if (sample_idx == 0) return seed;
  // SplitMix64 (Steele, Lea, Flood 2014): the stream of `seed`, entered at `sample_idx`.
  uint64_t z = seed + sample_idx * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace skv::router
