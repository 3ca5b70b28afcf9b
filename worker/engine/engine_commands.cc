// The engine's thread-safe side: what other threads ask of it waits in a queue for the next step.

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "worker/engine/engine.h"
#include "worker/engine/open_request.h"

namespace skv::engine {
namespace {

// Commands that may wait between two steps.
constexpr size_t kMaxCommands = 8192;
constexpr size_t kMaxSamples = 128;

absl::Status CheckTokens(const char* field, const std::vector<TokenId>& ids, int vocab_size) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocab_size) continue;
    return absl::InvalidArgumentError(absl::StrCat(field, "[", i, "]: token id ", ids[i],
                                                   " is outside of the vocabulary, 0 to ",
                                                   vocab_size - 1));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Engine::Validate(const GenerationRequest& request) const {
  if (request.prompt_ids.empty()) {
    return absl::InvalidArgumentError("prompt_ids: empty, expected at least one token");
  }
  SKV_RETURN_IF_ERROR(CheckTokens("prompt_ids", request.prompt_ids, options_.vocab_size));
  SKV_RETURN_IF_ERROR(CheckTokens("resume_ids", request.resume_ids, options_.vocab_size));
  if (request.seeds.empty() || request.seeds.size() > kMaxSamples) {
    return absl::InvalidArgumentError(
        absl::StrCat("n: ", request.seeds.size(), ", expected 1 to ", kMaxSamples));
  }
  const int64_t total = static_cast<int64_t>(request.prompt_ids.size()) + request.max_tokens;
  if (request.max_tokens < 1 || total > options_.max_model_len) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_tokens: prompt of ", request.prompt_ids.size(), " tokens and max_tokens ",
                     request.max_tokens, ", expected at least 1 and together at most ",
                     options_.max_model_len, " (--max-model-len)"));
  }
  if (request.explain_top < 0 || request.explain_top > kMaxExplainTop) {
    return absl::InvalidArgumentError(absl::StrCat("explain_top: ", request.explain_top,
                                                   ", expected 0 (off) to ", kMaxExplainTop));
  }
  if (request.cache_salt.size() > kMaxCacheSaltBytes) {
    return absl::InvalidArgumentError(absl::StrCat("cache_salt: ", request.cache_salt.size(),
                                                   " bytes, expected at most ",
                                                   kMaxCacheSaltBytes));
  }
  SKV_RETURN_IF_ERROR(policy::Validate(request.policy));
  return request.params.Validate(options_.vocab_size);
}

absl::StatusOr<RequestId> Engine::Submit(GenerationRequest request,
                                         std::shared_ptr<TokenSink> sink) {
  SKV_RETURN_IF_ERROR(Validate(request));
  auto open = std::make_unique<OpenRequest>();
  open->sentence_ends = text::SentenceEnds(*options_.segmenter, request.prompt_ids);
  open->request = std::move(request);
  open->sink = std::move(sink);
  open->submitted = clock_.Now();
  MutexLock lock(&mutex_);
  if (stopped_ || shutdown_) return absl::UnavailableError("the engine has stopped");
  if (commands_.size() >= kMaxCommands) {
    return absl::ResourceExhaustedError(
        absl::StrCat("too many requests between two steps (", kMaxCommands, "); retry later"));
  }
  const RequestId id = next_request_++;
  commands_.push_back({CommandKind::kSubmit, id, std::move(open), 0});
  has_commands_.NotifyOne();
  return id;
}

void Engine::Cancel(RequestId id) { Push({CommandKind::kCancel, id, nullptr}); }

void Engine::CancelSample(RequestId id, int sample_idx) {
  Push({CommandKind::kCancelSample, id, nullptr, sample_idx});
}

void Engine::Preempt(RequestId id) { Push({CommandKind::kPreempt, id, nullptr}); }

void Engine::Push(Command command) {
  MutexLock lock(&mutex_);
  if (stopped_) return;
  command.num_ended = num_ended_;
  commands_.push_back(std::move(command));
  has_commands_.NotifyOne();
}

void Engine::Shutdown() {
  MutexLock lock(&mutex_);
  shutdown_ = true;
  has_commands_.NotifyOne();
}

EngineStats Engine::stats() const {
  MutexLock lock(&mutex_);
  return stats_;
}

}  // namespace skv::engine
