#include "eval/cancel/cancel_latency.h"

#include <algorithm>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "worker/engine/testing/local_engine.h"

namespace skv::eval {
namespace {

using engine::CollectingSink;
using engine::LocalEngine;

constexpr int kSurvivorTokens = 16;

struct Stream {
  engine::RequestId request = 0;
  std::shared_ptr<CollectingSink> sink;
  SequenceId sequence = 0;
  bool long_prompt = false;
  bool in_prefill = false;     // when it was cancelled
  size_t steps_at_cancel = 0;  // that had ended when Cancel had returned
};

std::vector<TokenId> RandomPrompt(int num_tokens, int vocab_size, std::mt19937_64* random) {
  std::vector<TokenId> ids(num_tokens);
  for (TokenId& id : ids) id = static_cast<TokenId>((*random)() % vocab_size);
  return ids;
}

absl::StatusOr<std::vector<Stream>> Submit(const CancelLatencyOptions& options,
                                           std::mt19937_64* random, LocalEngine* local) {
  std::vector<Stream> streams;
  for (int i = 0; i < options.num_streams; ++i) {
    const bool long_prompt = i % 8 == 1;
    engine::GenerationRequest request;
    request.prompt_ids =
        RandomPrompt(long_prompt ? options.prefill_prompt_tokens : options.prompt_tokens,
                     local->description().config.vocab_size, random);
    request.params.ignore_eos = true;
    request.seeds = {(*random)()};
    request.max_tokens = i % 2 == 0 ? kSurvivorTokens : options.victim_tokens;
    // The engine numbers sequences from 1 in the order of submission.
    Stream stream{.sink = std::make_shared<CollectingSink>(),
                  .sequence = static_cast<SequenceId>(i + 1),
                  .long_prompt = long_prompt};
    SKV_ASSIGN_OR_RETURN(stream.request, local->engine().Submit(std::move(request), stream.sink));
    streams.push_back(std::move(stream));
  }
  return streams;
}

// Cancels every second stream in random order: first those with long prompts, a moment apart, then
// the others, each once it has a random number of tokens.
void CancelHalf(std::vector<Stream>* streams, std::mt19937_64* random, LocalEngine* local) {
  std::vector<Stream*> victims;
  for (size_t i = 1; i < streams->size(); i += 2) victims.push_back(&(*streams)[i]);
  std::shuffle(victims.begin(), victims.end(), *random);
  std::stable_partition(victims.begin(), victims.end(),
                        [](const Stream* victim) { return victim->long_prompt; });
  for (Stream* victim : victims) {
    if (victim->long_prompt) {
      std::this_thread::sleep_for(std::chrono::microseconds((*random)() % 10'000));
    } else {
      victim->sink->WaitForTokens(1 + (*random)() % 24);
    }
    victim->in_prefill = victim->sink->tokens().empty();
    local->engine().Cancel(victim->request);
    victim->steps_at_cancel = local->recorder().steps().size();
  }
}

}  // namespace

absl::StatusOr<CancelLatencyReport> MeasureCancelLatency(const CancelLatencyOptions& options) {
  engine::LocalEngineOptions engine_options;
  engine_options.rank.model_path = options.model_path;
  engine_options.rank.num_threads = options.num_threads;
  SKV_ASSIGN_OR_RETURN(const std::unique_ptr<LocalEngine> local, LocalEngine::Open(engine_options));
  std::mt19937_64 random(options.seed);
  SKV_ASSIGN_OR_RETURN(std::vector<Stream> streams, Submit(options, &random, local.get()));
  CancelHalf(&streams, &random, local.get());
  for (const Stream& stream : streams) {
    if (!stream.sink->WaitForFinish()) {
      return absl::InternalError(absl::StrCat("sequence ", stream.sequence, " never ended"));
    }
  }
  const std::vector<engine::StepRecord> steps = local->recorder().steps();
  CancelLatencyReport report;
  for (size_t i = 1; i < streams.size(); i += 2) {
    if (streams[i].sink->finish().reason != engine::FinishReason::kCancelled) continue;
    ++report.num_cancels;
    if (streams[i].in_prefill) ++report.num_cancels_in_prefill;
    const auto later = std::count_if(
        steps.begin() + streams[i].steps_at_cancel, steps.end(), [&](const auto& step) {
          return std::count(step.sequences.begin(), step.sequences.end(), streams[i].sequence) > 0;
        });
    report.max_steps_after_cancel =
        std::max(report.max_steps_after_cancel, static_cast<int>(later));
  }
  return report;
}

}  // namespace skv::eval
