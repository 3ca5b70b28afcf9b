#pragma once
// A request as a client sent it, before any check, free of any wire format: front doors make one.
// skv.v1.GenerateRequest (proto/skv/v1/generation.proto) documents fields, ranges and defaults.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "router/admission/kv_policy.h"

namespace skv::router {

struct ChatMessage {
  std::string role;
  std::string content;
};

struct TextPrompt {
  std::string text;
};

struct ChatPrompt {
  std::vector<ChatMessage> messages;
};

struct TokenPrompt {
  std::vector<int64_t> ids;
};

using Prompt = std::variant<std::monostate, TextPrompt, ChatPrompt, TokenPrompt>;

struct Request {
  std::string request_id;  // empty: to be drawn
  std::string model;
  Prompt prompt;
  bool parse_special = false;
  std::optional<int64_t> max_tokens;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<int64_t> top_k;
  std::optional<double> min_p;
  std::optional<double> repetition_penalty;
  std::optional<double> presence_penalty;
  std::optional<double> frequency_penalty;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  std::vector<int64_t> stop_token_ids;
  std::map<int64_t, double> logit_bias;
  bool logprobs = false;
  std::optional<int64_t> top_logprobs;
  std::optional<int64_t> n;
  bool ignore_eos = false;
  std::optional<int64_t> priority;
  KvPolicyRequest kv_policy;
  std::optional<double> min_recall;
  bool explain = false;
  std::optional<int64_t> explain_top;
  std::optional<std::string> cache_salt;
  // The first field that is set but not served yet, by its name on the wire; empty when none is.
  std::string unserved_field;
  std::string traceparent;
};

}  // namespace skv::router
