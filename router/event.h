#pragma once
// What a client gets, free of any wire format. Every front door sends these;
// skv.v1.GenerateEvent (proto/skv/v1/generation.proto) documents the fields.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/types.h"
#include "router/membership/group_client.h"
#include "text/token_text.h"

namespace skv::router {

struct EventTopLogprob {
  TokenId id = 0;
  std::string piece;
  float logprob = 0;
};

struct EventToken {
  TokenId id = 0;
  std::string piece;  // any bytes; empty for control tokens
  std::optional<float> logprob;
  std::vector<EventTopLogprob> top_logprobs;
};

struct Finish {
  FinishReason reason = FinishReason::kStop;
  std::optional<std::string> stop_string;
  std::optional<TokenId> stop_token_id;
  std::string message;
};

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t completion_tokens = 0;
};

struct Timings {
  WorkerTimings worker;
  double decode_ms = 0;
  double ttft_ms = 0;
  double total_ms = 0;
  int32_t num_retries = 0;
  int32_t num_migrations = 0;
};

struct EventSentenceRead {
  SentenceRead read;
  text::ByteRange bytes{0, 0};  // of the prompt's text
  std::string text;
};

struct EventExplanation {
  int32_t token_begin = 0;
  int32_t token_end = 0;
  std::vector<EventSentenceRead> reads;
};

struct Event {
  std::string request_id;
  int32_t sample_idx = 0;
  std::string text;
  std::vector<EventToken> tokens;
  std::optional<Finish> finish;
  std::optional<Usage> usage;
  std::optional<Timings> timings;
  std::string numerics_id;
  std::optional<KvReport> kv_report;
  std::vector<EventExplanation> explanations;

  // Of nothing that is new to a client.
  bool IsEmpty() const {
    return text.empty() && tokens.empty() && !finish.has_value() && explanations.empty();
  }
};

// The client's end of a stream. Thread-safe. Calls never block and never call back into the caller.
class ClientStream {
 public:
  virtual ~ClientStream() = default;
  // False: the client reads so slowly that the buffer is full, and the event was not taken. Events
  // after Finish are dropped.
  virtual bool Write(Event event) = 0;
  // Ends the stream once what was written has left. Only the first call counts.
  virtual void Finish(absl::Status status) = 0;
};

}  // namespace skv::router
