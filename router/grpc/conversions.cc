#include "router/grpc/conversions.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "google/protobuf/empty.pb.h"
#include "google/protobuf/stubs/logging.h"
#include "google/protobuf/unknown_field_set.h"
#include "grpcpp/support/slice.h"
#include "text/utf8.h"

namespace skv::router {
namespace {

namespace pb = ::skv::v1;
using google::protobuf::FieldDescriptor;
using google::protobuf::UnknownField;

absl::StatusOr<std::string> Flatten(const grpc::ByteBuffer& buffer) {
  if (buffer.Length() > kMaxRequestBytes) {
    return absl::InvalidArgumentError(absl::StrCat("request: got ", buffer.Length(),
                                                   " bytes, expected at most ", kMaxRequestBytes));
  }
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return absl::InternalError("request: its bytes cannot be read");
  std::string bytes;
  bytes.reserve(buffer.Length());
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

// The first string field that is not UTF-8, as a path like "chat.messages.content". Protobuf
// refuses the whole message without saying where. Depth is that of the message type, not of the
// input.
absl::Status FindInvalidText(const google::protobuf::Descriptor& type, const std::string& bytes,
                             const std::string& path) {
  google::protobuf::Empty raw;  // every field is unknown to it, so nothing is checked
  if (!raw.ParseFromString(bytes)) return absl::OkStatus();
  const auto& fields = google::protobuf::Empty::GetReflection()->GetUnknownFields(raw);
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& field = fields.field(i);
    const FieldDescriptor* known = type.FindFieldByNumber(field.number());
    if (known == nullptr || field.type() != UnknownField::TYPE_LENGTH_DELIMITED) continue;
    const std::string name = path.empty() ? known->name() : absl::StrCat(path, ".", known->name());
    if (known->type() == FieldDescriptor::TYPE_STRING) {
      SKV_RETURN_IF_ERROR(text::ValidateUtf8(field.length_delimited(), name));
    } else if (known->type() == FieldDescriptor::TYPE_MESSAGE) {
      SKV_RETURN_IF_ERROR(FindInvalidText(*known->message_type(), field.length_delimited(), name));
    }
  }
  return absl::OkStatus();
}

template <typename T>
std::optional<T> Optional(bool has, T value) {
  return has ? std::optional<T>(value) : std::nullopt;
}

std::string FindUnservedField(const pb::GenerateRequest& request) {
  const pb::KvPolicy& policy = request.kv_policy();
  if (policy.has_num_start_tokens()) return "kv_policy.num_start_tokens";
  if (policy.has_num_recent_tokens()) return "kv_policy.num_recent_tokens";
  if (policy.has_observation_window()) return "kv_policy.observation_window";
  if (request.allow_degraded()) return "allow_degraded";
  if (!request.adapter().empty()) return "adapter";
  return "";
}

KvPolicyRequest FromProto(const pb::KvPolicy& policy) {
  return {.name = policy.name(),
          .max_capacity_prompts =
              Optional<int64_t>(policy.has_max_capacity_prompts(), policy.max_capacity_prompts()),
          .semantic_factor = Optional(policy.has_semantic_factor(), policy.semantic_factor())};
}

Prompt TakePrompt(pb::GenerateRequest* request) {
  switch (request->prompt_case()) {
    case pb::GenerateRequest::kText:
      return TextPrompt{std::move(*request->mutable_text())};
    case pb::GenerateRequest::kChat: {
      ChatPrompt chat;
      for (pb::ChatMessage& message : *request->mutable_chat()->mutable_messages()) {
        chat.messages.push_back(
            {std::move(*message.mutable_role()), std::move(*message.mutable_content())});
      }
      return chat;
    }
    case pb::GenerateRequest::kTokenIds:
      return TokenPrompt{{request->token_ids().ids().begin(), request->token_ids().ids().end()}};
    case pb::GenerateRequest::PROMPT_NOT_SET:
      break;
  }
  return std::monostate();
}

pb::FinishReason ToProto(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return pb::STOP;
    case FinishReason::kLength:
      return pb::LENGTH;
    case FinishReason::kError:
      break;
  }
  return pb::ERROR;
}

void SetToken(EventToken&& token, pb::Token* out) {
  out->set_id(token.id);
  out->set_piece(std::move(token.piece));
  if (token.logprob.has_value()) out->set_logprob(*token.logprob);
  for (EventTopLogprob& top : token.top_logprobs) {
    pb::TopLogprob* entry = out->add_top_logprobs();
    entry->set_id(top.id);
    entry->set_piece(std::move(top.piece));
    entry->set_logprob(top.logprob);
  }
}

void SetKvReport(KvReport&& report, pb::KvReport* out) {
  const KvPolicy& policy = report.policy;
  out->mutable_policy()->set_name(policy.name);
  if (policy.max_capacity_prompts) {
    out->mutable_policy()->set_max_capacity_prompts(*policy.max_capacity_prompts);
  }
  if (policy.semantic_factor) out->mutable_policy()->set_semantic_factor(*policy.semantic_factor);
  out->set_fingerprint(std::move(report.fingerprint));
  out->set_generated_positions(report.generated_positions);
  out->set_attended_tokens(report.attended_tokens);
  out->set_choosing_tokens(report.choosing_tokens);
  out->set_visible_tokens(report.visible_tokens);
  out->set_read_share(report.read_share);
  if (!report.recall) return;
  pb::RecallReport* const recall = out->mutable_recall();
  recall->set_min_recall(report.recall->min_recall);
  recall->set_checked(report.recall->checked);
  recall->set_widened(report.recall->widened);
  recall->set_full(report.recall->full);
}

void SetExplanation(EventExplanation&& explanation, pb::Explanation* out) {
  out->set_token_begin(explanation.token_begin);
  out->set_token_end(explanation.token_end);
  for (EventSentenceRead& sentence : explanation.reads) {
    pb::SentenceRead* const read = out->add_reads();
    read->set_token_begin(sentence.read.token_begin);
    read->set_token_end(sentence.read.token_end);
    read->set_text_begin(sentence.bytes.begin);
    read->set_text_end(sentence.bytes.end);
    read->set_text(std::move(sentence.text));
    read->set_score(sentence.read.score);
    read->set_heads_share(sentence.read.heads_share);
  }
}

void SetTimings(const Timings& timings, pb::Timings* out) {
  out->set_queue_ms(timings.worker.queue_ms);
  out->set_prefill_ms(timings.worker.prefill_ms);
  out->set_decode_ms(timings.decode_ms);
  out->set_ttft_ms(timings.ttft_ms);
  out->set_total_ms(timings.total_ms);
  out->set_num_retries(timings.num_retries);
  out->set_num_migrations(timings.num_migrations);
}

}  // namespace

absl::StatusOr<pb::GenerateRequest> ParseGenerateRequest(const grpc::ByteBuffer& buffer) {
  SKV_ASSIGN_OR_RETURN(const std::string bytes, Flatten(buffer));
  pb::GenerateRequest request;
  // The library would log a line for each bad string: a client could flood the log.
  const google::protobuf::LogSilencer silencer;
  if (request.ParseFromString(bytes)) return request;
  SKV_RETURN_IF_ERROR(FindInvalidText(*pb::GenerateRequest::GetDescriptor(), bytes, ""));
  return absl::InvalidArgumentError(absl::StrCat(
      "request: its ", bytes.size(), " bytes are not a skv.v1.GenerateRequest message"));
}

Request FromProto(pb::GenerateRequest&& request) {
  Request result;
  result.unserved_field = FindUnservedField(request);
  result.prompt = TakePrompt(&request);
  result.parse_special = request.parse_special();
  result.request_id = request.request_id();
  result.model = request.model();
  result.max_tokens = Optional<int64_t>(request.has_max_tokens(), request.max_tokens());
  result.temperature = Optional(request.has_temperature(), request.temperature());
  result.top_p = Optional(request.has_top_p(), request.top_p());
  result.top_k = Optional<int64_t>(request.has_top_k(), request.top_k());
  result.min_p = Optional(request.has_min_p(), request.min_p());
  result.repetition_penalty =
      Optional(request.has_repetition_penalty(), request.repetition_penalty());
  result.presence_penalty = Optional(request.has_presence_penalty(), request.presence_penalty());
  result.frequency_penalty = Optional(request.has_frequency_penalty(), request.frequency_penalty());
  result.seed = Optional<uint64_t>(request.has_seed(), request.seed());
  result.stop.assign(request.stop().begin(), request.stop().end());
  result.stop_token_ids.assign(request.stop_token_ids().begin(), request.stop_token_ids().end());
  result.logit_bias.insert(request.logit_bias().begin(), request.logit_bias().end());
  result.logprobs = request.logprobs();
  result.top_logprobs = Optional<int64_t>(request.has_top_logprobs(), request.top_logprobs());
  result.n = Optional<int64_t>(request.has_n(), request.n());
  result.ignore_eos = request.ignore_eos();
  result.priority = Optional<int64_t>(request.has_priority(), request.priority());
  result.kv_policy = FromProto(request.kv_policy());
  result.min_recall = Optional(request.has_min_recall(), request.min_recall());
  result.explain = request.explain();
  result.explain_top = Optional<int64_t>(request.has_explain_top(), request.explain_top());
  result.cache_salt = Optional<std::string>(request.has_cache_salt(), request.cache_salt());
  return result;
}

pb::GenerateEvent ToProto(Event&& event) {
  pb::GenerateEvent result;
  result.set_request_id(std::move(event.request_id));
  result.set_sample_index(event.sample_idx);
  result.set_text(std::move(event.text));
  for (EventToken& token : event.tokens) SetToken(std::move(token), result.add_tokens());
  if (event.finish.has_value()) {
    pb::Finish* finish = result.mutable_finish();
    finish->set_reason(ToProto(event.finish->reason));
    if (event.finish->stop_string) finish->set_stop_string(*event.finish->stop_string);
    if (event.finish->stop_token_id) finish->set_stop_token_id(*event.finish->stop_token_id);
    finish->set_message(event.finish->message);
  }
  if (event.usage.has_value()) {
    pb::Usage* usage = result.mutable_usage();
    usage->set_prompt_tokens(event.usage->prompt_tokens);
    usage->set_cached_tokens(event.usage->cached_tokens);
    usage->set_completion_tokens(event.usage->completion_tokens);
  }
  if (event.timings.has_value()) SetTimings(*event.timings, result.mutable_timings());
  result.set_numerics_id(std::move(event.numerics_id));
  if (event.kv_report.has_value()) {
    SetKvReport(*std::move(event.kv_report), result.mutable_kv_report());
  }
  for (EventExplanation& explanation : event.explanations) {
    SetExplanation(std::move(explanation), result.add_explanations());
  }
  return result;
}

}  // namespace skv::router
