#include <deque>
#include <random>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/status.h"
#include "text/chat_template.h"
#include "text/detokenizer.h"
#include "text/token_text.h"
#include "text/tokenizer.h"
#include "tools/cli/text_source.h"
#include "worker/comm/self_communicator.h"
#include "worker/engine/in_process_engine.h"

namespace skv::cli {
namespace {

constexpr auto kTokenTimeout = std::chrono::minutes(10);

// Hands the engine's events to the thread that prints them.
class EventQueue : public engine::TokenSink {
 public:
  bool OnToken(const engine::TokenEvent& event) override {
    MutexLock lock(&mutex_);
    tokens_.push_back(event.token.token);
    explanations_.insert(explanations_.end(), event.explanations.begin(), event.explanations.end());
    changed_.NotifyOne();
    return true;
  }
  void OnFinish(const engine::FinishEvent& event) override {
    MutexLock lock(&mutex_);
    finish_ = event;
    if (event.explanation) explanations_.push_back(*event.explanation);
    changed_.NotifyOne();
  }
  // The next token; nullopt after the last. DeadlineExceeded when none comes.
  absl::StatusOr<std::optional<TokenId>> Next() {
    MutexLock lock(&mutex_);
    if (!changed_.WaitUntil(&mutex_, RealClock().Now() + kTokenTimeout,
                            [&] { return !tokens_.empty() || finish_.has_value(); })) {
      return absl::DeadlineExceededError("no token for 10 minutes");
    }
    if (tokens_.empty()) return std::nullopt;
    const TokenId token = tokens_.front();
    tokens_.pop_front();
    return token;
  }
  // Once finished.
  std::vector<engine::Explanation> explanations() {
    MutexLock lock(&mutex_);
    return explanations_;
  }
  engine::FinishEvent finish() {
    MutexLock lock(&mutex_);
    return *finish_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::deque<TokenId> tokens_ SKV_GUARDED_BY(mutex_);
  std::vector<engine::Explanation> explanations_ SKV_GUARDED_BY(mutex_);
  std::optional<engine::FinishEvent> finish_ SKV_GUARDED_BY(mutex_);
};

const char* ReasonName(engine::FinishReason reason) {
  switch (reason) {
    case engine::FinishReason::kStop:
      return "stop";
    case engine::FinishReason::kLength:
      return "length";
    case engine::FinishReason::kCancelled:
      return "cancelled";
    case engine::FinishReason::kDeadline:
      return "deadline";
    case engine::FinishReason::kError:
      return "error";
  }
  return "unknown";
}

absl::Status NoEffect(std::string_view flag, const std::string& policy) {
  return absl::InvalidArgumentError(
      absl::StrCat(Sv(flag), ": no effect with policy \"", policy,
                   "\", which does not have it; name another one with --kv-policy"));
}

absl::StatusOr<policy::PolicyParams> ToPolicy(const KvPolicyOptions& options) {
  policy::PolicyParams params;
  if (!options.name.empty()) params.name = options.name;
  SKV_RETURN_IF_ERROR(policy::Validate(params));
  if (options.max_capacity_prompts && !policy::HasBudget(params.name)) {
    return NoEffect("--max-capacity-prompts", params.name);
  }
  if (options.semantic_factor && !policy::HasSemanticFactor(params.name)) {
    return NoEffect("--semantic-factor", params.name);
  }
  params.budget_tokens =
      static_cast<int>(options.max_capacity_prompts.value_or(params.budget_tokens));
  params.semantic_factor = options.semantic_factor.value_or(params.semantic_factor);
  return params;
}

class LocalSource : public TextSource {
 public:
  static absl::StatusOr<std::unique_ptr<TextSource>> Open(const LocalOptions& options) {
    auto source = std::unique_ptr<LocalSource>(new LocalSource);
    SKV_ASSIGN_OR_RETURN(engine::ModelDescription description,
                         engine::DescribeModel(options.model_path));
    SKV_ASSIGN_OR_RETURN(source->tokenizer_, text::Tokenizer::Create(description.tokenizer));
    SKV_ASSIGN_OR_RETURN(
        source->engine_,
        engine::InProcessEngine::Open({.rank = {.model_path = options.model_path,
                                                .backend = options.backend,
                                                .num_threads = options.num_threads},
                                       .max_num_seqs = 1,
                                       .max_queue = 1},
                                      std::move(description), comm::CreateSelfCommunicator()));
    return source;
  }

  absl::StatusOr<GenerateSummary> Generate(
      const GenerateOptions& options,
      const std::function<void(std::string_view)>& on_text) override {
    engine::GenerationRequest request;
    SKV_ASSIGN_OR_RETURN(request.prompt_ids, Encode(options));
    request.params.temperature = static_cast<float>(options.temperature);
    request.params.top_p = static_cast<float>(options.top_p);
    request.seeds = {options.seed.value_or(std::random_device{}())};
    request.max_tokens = options.max_tokens;
    SKV_ASSIGN_OR_RETURN(request.policy, ToPolicy(options.kv_policy));
    request.explain_top = options.explain_top;
    const text::TokenText prompt =
        options.chat ? text::TokenText(*tokenizer_, request.prompt_ids)
                     : text::TokenText::OfEncoded(*tokenizer_, request.prompt_ids);
    const policy::PolicyParams policy = request.policy;
    const auto events = std::make_shared<EventQueue>();
    SKV_RETURN_IF_ERROR(engine_->engine().Submit(std::move(request), events).status());
    std::vector<TokenId> tokens;
    SKV_ASSIGN_OR_RETURN(GenerateSummary summary, Print(events.get(), on_text, &tokens));
    summary.kv->policy = policy;
    for (const engine::Explanation& explanation : events->explanations()) {
      summary.explanations.push_back(Explain(explanation, prompt, tokens));
    }
    return summary;
  }

 private:
  LocalSource() = default;

  absl::StatusOr<std::vector<TokenId>> Encode(const GenerateOptions& options) const {
    if (!options.chat) return tokenizer_->Encode(options.prompt, {.add_bos = true});
    SKV_ASSIGN_OR_RETURN(const auto chat,
                         text::ChatTemplate::Detect(tokenizer_->spec().chat_template));
    std::vector<text::ChatMessage> messages;
    if (!options.system.empty()) messages.push_back({"system", options.system});
    messages.push_back({"user", options.prompt});
    return chat.RenderToTokens(*tokenizer_, messages, /*add_generation_prompt=*/true);
  }

  ExplainedSentence Explain(const engine::Explanation& explanation, const text::TokenText& prompt,
                            const std::vector<TokenId>& tokens) const {
    ExplainedSentence result{
        .token_begin = explanation.begin, .token_end = explanation.end, .text = {}, .reads = {}};
    text::IncrementalDetokenizer detokenizer(tokenizer_.get(), {});
    for (int i = explanation.begin; i < explanation.end; ++i) {
      result.text += detokenizer.Push(tokens[i]);
    }
    result.text += detokenizer.Flush();
    for (const engine::SentenceRead& read : explanation.reads) {
      const text::ByteRange bytes = prompt.BytesOf(read.begin, read.end);
      result.reads.push_back({.token_begin = read.begin,
                              .token_end = read.end,
                              .text_begin = bytes.begin,
                              .text_end = bytes.end,
                              .text = prompt.TextOf(read.begin, read.end),
                              .score = read.score,
                              .heads_share = read.heads_share});
    }
    return result;
  }

  absl::StatusOr<GenerateSummary> Print(EventQueue* events,
                                        const std::function<void(std::string_view)>& on_text,
                                        std::vector<TokenId>* tokens) {
    text::IncrementalDetokenizer detokenizer(tokenizer_.get(), {});
    while (true) {
      SKV_ASSIGN_OR_RETURN(const std::optional<TokenId> token, events->Next());
      if (!token) break;
      tokens->push_back(*token);
      on_text(detokenizer.Push(*token));
    }
    on_text(detokenizer.Flush());
    const engine::FinishEvent finish = events->finish();
    SKV_RETURN_IF_ERROR(finish.status);
    const int num_heads = engine_->rank().pool().layout().NumHeads();
    return GenerateSummary{.finish_reason = ReasonName(finish.reason),
                           .prompt_tokens = finish.num_prompt_tokens,
                           .cached_tokens = finish.num_cached_tokens,
                           .completion_tokens = finish.num_generated_tokens,
                           .ttft_ms = finish.timings.time_to_first_token_seconds * 1e3,
                           .decode_ms = finish.timings.decode_seconds * 1e3,
                           .kv = KvSummary{.fingerprint = finish.policy_fingerprint,
                                           .generated_positions = finish.kv_use.positions,
                                           .means = policy::MeansOf(finish.kv_use, num_heads)}};
  }

  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<engine::InProcessEngine> engine_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TextSource>> OpenLocalSource(const LocalOptions& options) {
  return LocalSource::Open(options);
}

}  // namespace skv::cli
