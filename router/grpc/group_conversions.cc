#include "router/grpc/group_conversions.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace skv::router {
namespace {

GroupFinish FromProto(const worker_pb::Finish& finish) {
  switch (finish.reason()) {
    case worker_pb::STOP:
      return {FinishReason::kStop, finish.message()};
    case worker_pb::LENGTH:
      return {FinishReason::kLength, finish.message()};
    case worker_pb::ERROR:
      return {FinishReason::kError, finish.message()};
    case worker_pb::CANCELLED:
      // Not heard where the router asked for it: it has finished that sample itself.
      return {FinishReason::kError, "the worker cancelled this sample"};
    default:
      return {FinishReason::kError, absl::StrCat("the worker ended this sample for reason ",
                                                 static_cast<int>(finish.reason()),
                                                 ", expected one of skv.worker.v1.FinishReason")};
  }
}

GeneratedToken FromProto(const worker_pb::Token& token) {
  GeneratedToken result{.id = token.id()};
  if (token.has_logprob()) result.logprob = token.logprob();
  result.top_logprobs.reserve(token.top_logprobs_size());
  for (const auto& top : token.top_logprobs()) {
    result.top_logprobs.push_back({top.id(), top.logprob()});
  }
  return result;
}

// The peer is not trusted: sums of these must not overflow.
int64_t ClampTokens(int64_t num_tokens) {
  return std::clamp<int64_t>(num_tokens, 0, int64_t{1} << 40);
}

// The peer is not trusted: every look at the cluster copies these.
std::string BoundedName(const std::string& name) {
  constexpr size_t kMaxNameBytes = 256;
  return name.size() <= kMaxNameBytes ? name : "";
}

worker_pb::SamplingParams ToProto(const SamplingParams& params) {
  worker_pb::SamplingParams result;
  result.set_temperature(static_cast<float>(params.temperature));
  result.set_top_p(static_cast<float>(params.top_p));
  result.set_top_k(params.top_k);
  result.set_min_p(static_cast<float>(params.min_p));
  result.set_repetition_penalty(static_cast<float>(params.repetition_penalty));
  result.set_presence_penalty(static_cast<float>(params.presence_penalty));
  result.set_frequency_penalty(static_cast<float>(params.frequency_penalty));
  for (const auto& [id, bias] : params.logit_bias) {
    worker_pb::LogitBias* entry = result.add_logit_bias();
    entry->set_token_id(id);
    entry->set_bias(static_cast<float>(bias));
  }
  result.set_logprobs(params.logprobs);
  result.set_top_logprobs(params.top_logprobs);
  return result;
}

worker_pb::KvPolicy ToProto(const KvPolicy& policy) {
  worker_pb::KvPolicy result;
  result.set_name(policy.name);
  if (policy.max_capacity_prompts) result.set_max_capacity_prompts(*policy.max_capacity_prompts);
  if (policy.semantic_factor) result.set_semantic_factor(*policy.semantic_factor);
  return result;
}

KvPolicy FromProto(const worker_pb::KvPolicy& policy) {
  KvPolicy result{.name = policy.name()};
  if (policy.has_max_capacity_prompts()) {
    result.max_capacity_prompts = policy.max_capacity_prompts();
  }
  if (policy.has_semantic_factor()) result.semantic_factor = policy.semantic_factor();
  return result;
}

PrefixNaming FromProto(const worker_pb::PrefixNaming& naming) {
  return {.model_name = naming.model_name(),
          .model_revision = naming.model_revision(),
          .segmenter_id = naming.segmenter_id(),
          .kv_policies = {naming.kv_policies().begin(), naming.kv_policies().end()},
          .computed_tokens = {naming.computed_tokens().begin(), naming.computed_tokens().end()}};
}

RecallReport FromProto(const worker_pb::RecallReport& report) {
  return {.min_recall = report.min_recall(),
          .checked = report.checked(),
          .widened = report.widened(),
          .full = report.full()};
}

KvReport FromProto(const worker_pb::KvReport& report) {
  KvReport result = {.policy = FromProto(report.policy()),
                     .fingerprint = report.fingerprint(),
                     .generated_positions = report.generated_positions(),
                     .attended_tokens = report.attended_tokens(),
                     .choosing_tokens = report.choosing_tokens(),
                     .visible_tokens = report.visible_tokens(),
                     .read_share = report.read_share()};
  if (report.has_recall()) result.recall = FromProto(report.recall());
  return result;
}

Explanation FromProto(const worker_pb::Explanation& explanation) {
  Explanation result{explanation.token_begin(), explanation.token_end(), {}};
  for (const worker_pb::SentenceRead& read : explanation.reads()) {
    result.reads.push_back(
        {read.token_begin(), read.token_end(), read.score(), read.heads_share()});
  }
  return result;
}

}  // namespace

absl::Status ToAbslStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

worker_pb::GenerateRequest ToProto(const GroupRequest& request) {
  worker_pb::GenerateRequest result;
  result.set_request_id(request.request_id);
  result.mutable_prompt_ids()->Add(request.prompt_ids.begin(), request.prompt_ids.end());
  result.mutable_resume_ids()->Add(request.resume_ids.begin(), request.resume_ids.end());
  *result.mutable_sampling() = ToProto(request.sampling);
  result.mutable_seeds()->Add(request.seeds.begin(), request.seeds.end());
  result.set_max_tokens(request.max_tokens);
  result.mutable_stop_token_ids()->Add(request.stop_token_ids.begin(),
                                       request.stop_token_ids.end());
  result.set_ignore_eos(request.ignore_eos);
  result.set_priority(request.priority);
  *result.mutable_kv_policy() = ToProto(request.kv_policy);
  result.set_explain_top(request.explain_top);
  result.set_min_recall(request.min_recall);
  result.set_cache_salt(request.cache_salt);
  result.set_traceparent(request.traceparent);
  return result;
}

GroupEvent FromProto(worker_pb::GenerateEvent&& event) {
  GroupEvent result{.sample_idx = event.sample_index()};
  result.tokens.reserve(event.tokens_size());
  for (const worker_pb::Token& token : event.tokens()) result.tokens.push_back(FromProto(token));
  if (event.has_finish()) {
    result.finish = FromProto(event.finish());
  }
  if (event.has_cached_tokens()) result.cached_tokens = event.cached_tokens();
  if (event.has_timings()) {
    const worker_pb::Timings& timings = event.timings();
    result.timings = WorkerTimings{timings.queue_ms(), timings.prefill_ms()};
  }
  if (event.has_kv_report()) result.kv_report = FromProto(event.kv_report());
  for (const worker_pb::Explanation& explanation : event.explanations()) {
    result.explanations.push_back(FromProto(explanation));
  }
  return result;
}

ModelInfo FromProto(worker_pb::ModelInfo&& info) {
  ModelInfo result{.name = info.name(),
                   .fingerprint = info.fingerprint(),
                   .context_length = info.context_length(),
                   .vocab_size = info.vocab_size()};
  result.numerics_id = info.numerics_id();
  result.kv_policies = {.default_name = info.default_kv_policy(), .policies = {}};
  for (const worker_pb::KvPolicy& policy : info.kv_policies()) {
    result.kv_policies.policies.push_back(FromProto(policy));
  }
  if (info.has_prefix_naming()) result.prefix_naming = FromProto(info.prefix_naming());
  worker_pb::TokenizerSpec& from = *info.mutable_tokenizer();
  text::TokenizerSpec& spec = result.tokenizer;
  spec.model = std::move(*from.mutable_model());
  spec.pre = std::move(*from.mutable_pre());
  std::ranges::move(*from.mutable_tokens(), std::back_inserter(spec.tokens));
  spec.token_types.assign(from.token_types().begin(), from.token_types().end());
  std::ranges::move(*from.mutable_merges(), std::back_inserter(spec.merges));
  spec.bos_id = from.bos_id();
  spec.eos_id = from.eos_id();
  spec.eot_id = from.eot_id();
  spec.unk_id = from.unk_id();
  spec.pad_id = from.pad_id();
  spec.add_bos = from.add_bos();
  spec.add_space_prefix = from.add_space_prefix();
  spec.chat_template = std::move(*from.mutable_chat_template());
  return result;
}

LoadReport FromProto(const worker_pb::LoadReport& report) {
  const double age = report.step_age_ms();
  const double step_age_ms = age > 0 ? std::min(age, 1e9) : 0;  // NaN is 0
  return {.epoch = report.epoch(),
          .store_id = BoundedName(report.store_id()),
          .store_watch_address = BoundedName(report.store_watch_address()),
          .draining = report.draining(),
          .num_running = report.num_running(),
          .num_waiting = report.num_waiting(),
          .unfinished_tokens =
              ClampTokens(report.queued_tokens()) + ClampTokens(report.running_tokens()),
          .step_age = std::chrono::duration_cast<Duration>(
              std::chrono::duration<double, std::milli>(step_age_ms))};
}

}  // namespace skv::router
