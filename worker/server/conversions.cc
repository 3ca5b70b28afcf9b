#include "worker/server/conversions.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "worker/policy/kv_means.h"

namespace skv::server {
namespace {

namespace pb = worker::v1;

pb::FinishReason ToProto(engine::FinishReason reason) {
  switch (reason) {
    case engine::FinishReason::kStop:
      return pb::STOP;
    case engine::FinishReason::kLength:
      return pb::LENGTH;
    case engine::FinishReason::kCancelled:
      return pb::CANCELLED;
    case engine::FinishReason::kDeadline:  // ends the call: GenerateStream does not send it
    case engine::FinishReason::kError:
      break;
  }
  return pb::ERROR;
}

engine::SamplingParams ToSamplingParams(const pb::GenerateRequest& proto) {
  const pb::SamplingParams& from = proto.sampling();
  engine::SamplingParams params;
  params.temperature = from.temperature();
  params.top_p = from.top_p();
  params.top_k = from.top_k();
  params.min_p = from.min_p();
  params.repetition_penalty = from.repetition_penalty();
  params.presence_penalty = from.presence_penalty();
  params.frequency_penalty = from.frequency_penalty();
  for (const pb::LogitBias& bias : from.logit_bias()) {
    params.logit_bias.emplace_back(bias.token_id(), bias.bias());
  }
  params.logprobs = from.logprobs();
  params.top_logprobs = from.top_logprobs();
  params.ignore_eos = proto.ignore_eos();
  params.stop_token_ids.assign(proto.stop_token_ids().begin(), proto.stop_token_ids().end());
  return params;
}

absl::Status CheckParameter(std::string_view field, bool is_set, bool expected,
                            const std::string& policy) {
  if (is_set == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("kv_policy.", Sv(field), ": got ", is_set ? "one" : "none", ", expected ",
                   expected ? "one" : "none", " with policy \"", policy, "\""));
}

absl::StatusOr<policy::PolicyParams> ToParams(const pb::KvPolicy& proto) {
  policy::PolicyParams params{.name = proto.name()};
  SKV_RETURN_IF_ERROR(policy::Validate(params));
  SKV_RETURN_IF_ERROR(CheckParameter("max_capacity_prompts", proto.has_max_capacity_prompts(),
                                     policy::HasBudget(params.name), params.name));
  SKV_RETURN_IF_ERROR(CheckParameter("semantic_factor", proto.has_semantic_factor(),
                                     policy::HasSemanticFactor(params.name), params.name));
  if (proto.has_max_capacity_prompts()) params.budget_tokens = proto.max_capacity_prompts();
  if (proto.has_semantic_factor()) params.semantic_factor = proto.semantic_factor();
  return params;
}

pb::Explanation ToProto(const engine::Explanation& explanation) {
  pb::Explanation proto;
  proto.set_token_begin(explanation.begin);
  proto.set_token_end(explanation.end);
  for (const engine::SentenceRead& read : explanation.reads) {
    pb::SentenceRead* const out = proto.add_reads();
    out->set_token_begin(read.begin);
    out->set_token_end(read.end);
    out->set_score(read.score);
    out->set_heads_share(read.heads_share);
  }
  return proto;
}

}  // namespace

absl::StatusOr<engine::GenerationRequest> ToRequest(const pb::GenerateRequest& proto) {
  if (!proto.has_sampling() || !proto.has_kv_policy()) {
    return absl::InvalidArgumentError(absl::StrCat(proto.has_sampling() ? "kv_policy" : "sampling",
                                                   ": missing; the router fills in every default"));
  }
  engine::GenerationRequest request;
  request.prompt_ids.assign(proto.prompt_ids().begin(), proto.prompt_ids().end());
  request.resume_ids.assign(proto.resume_ids().begin(), proto.resume_ids().end());
  request.params = ToSamplingParams(proto);
  request.seeds.assign(proto.seeds().begin(), proto.seeds().end());
  request.max_tokens = proto.max_tokens();
  request.priority = proto.priority();
  request.explain_top = proto.explain_top();
  request.cache_salt = proto.cache_salt();
  SKV_ASSIGN_OR_RETURN(request.policy, ToParams(proto.kv_policy()));
  request.policy.min_recall = proto.min_recall();
  return request;
}

pb::GenerateEvent ToProto(const engine::TokenEvent& event) {
  pb::GenerateEvent proto;
  proto.set_sample_index(event.sample_idx);
  pb::Token* const token = proto.add_tokens();
  token->set_id(event.token.token);
  if (event.token.logprob) token->set_logprob(*event.token.logprob);
  for (const engine::TokenLogprob& top : event.token.top) {
    pb::TopLogprob* const out = token->add_top_logprobs();
    out->set_id(top.token);
    out->set_logprob(top.logprob);
  }
  if (event.timings) {
    proto.set_cached_tokens(event.num_cached_tokens);
    proto.mutable_timings()->set_queue_ms(event.timings->queue_seconds * 1e3);
    proto.mutable_timings()->set_prefill_ms(event.timings->prefill_seconds * 1e3);
  }
  for (const engine::Explanation& explanation : event.explanations) {
    *proto.add_explanations() = ToProto(explanation);
  }
  return proto;
}

pb::KvPolicy ToProto(const policy::PolicyParams& params) {
  pb::KvPolicy proto;
  proto.set_name(params.name);
  if (policy::HasBudget(params.name)) proto.set_max_capacity_prompts(params.budget_tokens);
  if (policy::HasSemanticFactor(params.name)) proto.set_semantic_factor(params.semantic_factor);
  return proto;
}

pb::GenerateEvent ToProto(const engine::FinishEvent& event, const policy::PolicyParams& policy,
                          const policy::KvHeads& kv_heads) {
  pb::GenerateEvent proto;
  proto.set_sample_index(event.sample_idx);
  proto.mutable_finish()->set_reason(ToProto(event.reason));
  proto.mutable_finish()->set_message(std::string(event.status.message()));
  if (event.num_generated_tokens == 0) proto.set_cached_tokens(event.num_cached_tokens);
  const policy::KvMeans means = policy::MeansOf(event.kv_use, kv_heads);
  pb::KvReport* const report = proto.mutable_kv_report();
  *report->mutable_policy() = ToProto(policy);
  report->set_fingerprint(event.policy_fingerprint);
  report->set_generated_positions(event.kv_use.positions);
  report->set_attended_tokens(means.attended_tokens);
  report->set_choosing_tokens(means.choosing_tokens);
  report->set_visible_tokens(means.visible_tokens);
  report->set_read_share(means.read_share);
  if (policy.min_recall > 0) {
    report->mutable_recall()->set_min_recall(policy.min_recall);
    report->mutable_recall()->set_checked(event.recall.checked);
    report->mutable_recall()->set_widened(event.recall.widened);
    report->mutable_recall()->set_full(event.recall.full);
  }
  if (event.explanation) *proto.add_explanations() = ToProto(*event.explanation);
  return proto;
}

pb::TokenizerSpec ToProto(const text::TokenizerSpec& spec) {
  pb::TokenizerSpec proto;
  proto.set_model(spec.model);
  proto.set_pre(spec.pre);
  for (const std::string& token : spec.tokens) proto.add_tokens(token);
  proto.mutable_token_types()->Add(spec.token_types.begin(), spec.token_types.end());
  for (const std::string& merge : spec.merges) proto.add_merges(merge);
  proto.set_bos_id(spec.bos_id);
  proto.set_eos_id(spec.eos_id);
  proto.set_eot_id(spec.eot_id);
  proto.set_unk_id(spec.unk_id);
  proto.set_pad_id(spec.pad_id);
  proto.set_add_bos(spec.add_bos);
  proto.set_add_space_prefix(spec.add_space_prefix);
  proto.set_chat_template(spec.chat_template);
  return proto;
}

}  // namespace skv::server
