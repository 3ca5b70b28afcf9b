#include "skv/llm.h"

#include <random>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "skv/answer_text.h"
#include "skv/event_queue.h"
#include "skv/explain.h"
#include "text/chat_template.h"
#include "text/token_text.h"
#include "text/tokenizer.h"
#include "text/utf8.h"
#include "worker/comm/self_communicator.h"
#include "worker/engine/in_process_engine.h"
#include "worker/policy/kv_means.h"
#include "worker/policy/policy_params.h"

namespace skv {
namespace {

// How long a callback may have to wait until it can end the answer.
constexpr auto kPollInterval = std::chrono::milliseconds(100);

absl::Status CheckRange(std::string_view flag, int64_t value, int64_t min, int64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(Sv(flag), ": ", value, ", expected ", min, " to ", max));
}

absl::Status Check(const LlmOptions& options) {
  SKV_RETURN_IF_ERROR(CheckRange("--threads", options.num_threads, 0, 1024));
  return CheckRange("--kv-cache-memory-bytes", options.kv_cache_memory_bytes, 0, int64_t{1} << 46);
}

// Before it is tokenised: a text without spaces takes long.
absl::Status CheckText(std::string_view field, std::string_view text, size_t max_bytes) {
  if (text.size() > max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(Sv(field), ": ", text.size(),
                                                   " bytes, expected at most ", max_bytes,
                                                   ", what --max-model-len can hold"));
  }
  return text::ValidateUtf8(text, field);
}

absl::Status NoEffect(std::string_view field, const std::string& policy) {
  return absl::InvalidArgumentError(
      absl::StrCat("kv_policy.", Sv(field), ": no effect with policy \"", policy,
                   "\", which does not have it; leave it out or name another policy"));
}

absl::StatusOr<policy::PolicyParams> ToParams(const KvPolicy& policy) {
  policy::PolicyParams params{.name = policy.name};
  SKV_RETURN_IF_ERROR(policy::Validate(params));
  if (policy.max_capacity_prompts && !policy::HasBudget(params.name)) {
    return NoEffect("max_capacity_prompts", params.name);
  }
  if (policy.semantic_factor && !policy::HasSemanticFactor(params.name)) {
    return NoEffect("semantic_factor", params.name);
  }
  params.budget_tokens = policy.max_capacity_prompts.value_or(params.budget_tokens);
  params.semantic_factor = policy.semantic_factor.value_or(params.semantic_factor);
  return params;
}

absl::Status CheckMinRecall(double min_recall) {
  if (min_recall > 0 && min_recall <= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("min_recall: ", min_recall, ", expected above 0, at most 1"));
}

engine::SamplingParams ToParams(const Sampling& sampling) {
  engine::SamplingParams params;
  params.temperature = sampling.temperature;
  params.top_p = sampling.top_p;
  params.min_p = sampling.min_p;
  params.top_k = sampling.top_k;
  params.repetition_penalty = sampling.repetition_penalty;
  return params;
}

KvReport ToReport(const policy::PolicyParams& params, const engine::FinishEvent& finish,
                  const policy::KvHeads& kv_heads) {
  const policy::KvMeans means = policy::MeansOf(finish.kv_use, kv_heads);
  KvReport report{.policy = {.name = params.name},
                  .fingerprint = finish.policy_fingerprint,
                  .generated_positions = finish.kv_use.positions,
                  .attended_tokens = means.attended_tokens,
                  .choosing_tokens = means.choosing_tokens,
                  .visible_tokens = means.visible_tokens,
                  .read_share = means.read_share};
  if (policy::HasBudget(params.name)) report.policy.max_capacity_prompts = params.budget_tokens;
  if (policy::HasSemanticFactor(params.name)) {
    report.policy.semantic_factor = params.semantic_factor;
  }
  if (params.min_recall > 0) {
    report.recall = {.min_recall = params.min_recall,
                     .checked = finish.recall.checked,
                     .widened = finish.recall.widened,
                     .full = finish.recall.full};
  }
  return report;
}

Answer ToAnswer(const policy::PolicyParams& params, const engine::FinishEvent& finish,
                const policy::KvHeads& kv_heads) {
  return {.text = {},
          .finish_reason = finish.reason == engine::FinishReason::kStop ? FinishReason::kStop
                                                                        : FinishReason::kLength,
          .prompt_tokens = finish.num_prompt_tokens,
          .cached_tokens = finish.num_cached_tokens,
          .completion_tokens = finish.num_generated_tokens,
          .time_to_first_token_seconds = finish.timings.time_to_first_token_seconds,
          .decode_seconds = finish.timings.decode_seconds,
          .kv = ToReport(params, finish, kv_heads)};
}

}  // namespace

std::string_view Name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

Llm::Llm() = default;
Llm::~Llm() = default;

absl::StatusOr<std::unique_ptr<Llm>> Llm::Open(const std::string& model_path,
                                               const LlmOptions& options) {
  SKV_RETURN_IF_ERROR(Check(options));
  auto llm = std::unique_ptr<Llm>(new Llm);
  SKV_ASSIGN_OR_RETURN(engine::ModelDescription description, engine::DescribeModel(model_path));
  SKV_ASSIGN_OR_RETURN(llm->tokenizer_, text::Tokenizer::Create(description.tokenizer));
  SKV_ASSIGN_OR_RETURN(llm->engine_,
                       engine::InProcessEngine::Open(
                           {.rank = {.model_path = model_path,
                                     .backend = options.backend,
                                     .num_threads = options.num_threads,
                                     .max_model_len = options.max_model_len,
                                     .kv_cache_memory_bytes = options.kv_cache_memory_bytes,
                                     .kv_placement = options.kv_placement,
                                     .enable_prefix_caching = options.enable_prefix_caching},
                            .max_num_seqs = options.max_num_seqs},
                           std::move(description), comm::CreateSelfCommunicator()));
  llm->max_prompt_bytes_ = llm->tokenizer_->MaxBytes(llm->max_model_len());
  return llm;
}

absl::StatusOr<Answer> Llm::Chat(const std::vector<ChatMessage>& messages,
                                 const GenerateOptions& options,
                                 const TextCallback& on_text) const {
  std::vector<text::ChatMessage> conversation;
  for (size_t i = 0; i < messages.size(); ++i) {
    SKV_RETURN_IF_ERROR(CheckText(absl::StrCat("messages[", i, "].content"), messages[i].content,
                                  max_prompt_bytes_));
    conversation.push_back({messages[i].role, messages[i].content});
  }
  SKV_ASSIGN_OR_RETURN(const auto chat,
                       text::ChatTemplate::Detect(tokenizer_->spec().chat_template));
  SKV_ASSIGN_OR_RETURN(std::vector<TokenId> prompt_ids,
                       chat.RenderToTokens(*tokenizer_, conversation,
                                           /*add_generation_prompt=*/true));
  const text::TokenText prompt(*tokenizer_, prompt_ids);
  return Generate(std::move(prompt_ids), prompt, options, on_text);
}

absl::StatusOr<Answer> Llm::Complete(std::string_view prompt, const GenerateOptions& options,
                                     const TextCallback& on_text) const {
  if (prompt.empty()) {
    return absl::InvalidArgumentError("prompt: empty, expected at least one byte");
  }
  SKV_RETURN_IF_ERROR(CheckText("prompt", prompt, max_prompt_bytes_));
  SKV_ASSIGN_OR_RETURN(std::vector<TokenId> prompt_ids,
                       tokenizer_->Encode(prompt, {.add_bos = true}));
  const text::TokenText prompt_text = text::TokenText::OfEncoded(*tokenizer_, prompt_ids);
  return Generate(std::move(prompt_ids), prompt_text, options, on_text);
}

absl::StatusOr<Answer> Llm::Generate(std::vector<TokenId> prompt_ids, const text::TokenText& prompt,
                                     const GenerateOptions& options,
                                     const TextCallback& on_text) const {
  SKV_ASSIGN_OR_RETURN(auto stops, text::StopSet::Create(options.stop));
  SKV_ASSIGN_OR_RETURN(policy::PolicyParams params, ToParams(options.kv_policy));
  if (options.min_recall) SKV_RETURN_IF_ERROR(CheckMinRecall(*options.min_recall));
  params.min_recall = options.min_recall.value_or(0);
  engine::Engine& engine = engine_->engine();
  const auto events = std::make_shared<EventQueue>();
  SKV_ASSIGN_OR_RETURN(
      const engine::RequestId id,
      engine.Submit({.prompt_ids = std::move(prompt_ids),
                     .params = ToParams(options.sampling),
                     .seeds = {options.sampling.seed.value_or(std::random_device{}())},
                     .max_tokens = options.max_tokens,
                     .policy = params,
                     .explain_top = options.explain_top,
                     .cache_salt = options.cache_salt},
                    events));
  // A callback may throw.
  const absl::Cleanup cancel = [&] { engine.Cancel(id); };

  AnswerText text(tokenizer_.get(), std::move(stops));
  std::string shown;
  std::vector<TokenId> tokens;
  std::vector<ExplainedSentence> explanations;
  bool cancelled = false;
  std::optional<engine::FinishEvent> finish;
  while (!finish) {
    EventQueue::Events next = events->Take(kPollInterval);
    finish = std::move(next.finish);
    tokens.insert(tokens.end(), next.tokens.begin(), next.tokens.end());
    for (const engine::Explanation& explanation : next.explanations) {
      explanations.push_back(Explain(explanation, prompt, *tokenizer_, tokens));
    }
    if (cancelled || text.stopped()) continue;
    std::string piece = text.Push(next.tokens);
    if (finish) piece += text.Flush();
    shown += piece;
    const bool wanted = on_text == nullptr || on_text(piece);
    cancelled = !wanted && !finish && !text.stopped();
    if (cancelled || text.stopped()) engine.Cancel(id);
  }
  SKV_RETURN_IF_ERROR(finish->status);
  Answer answer = ToAnswer(params, *finish, engine_->rank().kv_heads());
  answer.text = std::move(shown);
  answer.explanations = std::move(explanations);
  answer.completion_tokens = text.num_tokens();
  if (text.stopped()) answer.finish_reason = FinishReason::kStop;
  if (cancelled) answer.finish_reason = FinishReason::kCancelled;
  return answer;
}

int Llm::max_model_len() const { return engine_->rank().max_model_len(); }

}  // namespace skv
