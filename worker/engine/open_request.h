#pragma once
// The engine's private record of live requests.

#include <memory>
#include <optional>
#include <vector>

#include "worker/engine/engine.h"

namespace skv::engine {

struct Engine::OpenRequest {
  GenerationRequest request;
  std::vector<int> sentence_ends;  // of the prompt
  std::shared_ptr<TokenSink> sink;
  TimePoint submitted;
  std::vector<SequenceId> sequences;  // of its samples, in order
  int num_live = 0;                   // samples that have not finished
  std::optional<TimePoint> scheduled;
  // Of the prompt, found when it first started; what it finds after an eviction is its own.
  std::optional<int> num_cached_tokens;
  bool waited_for_prefix = false;
};

struct Engine::Sample {
  RequestId request;
  OpenRequest* open;
  int sample_idx;
  std::optional<SamplingState> sampling;  // from when its request is first scheduled
  int num_generated = 0;
  int explained_until = 0;  // generated token before which all sentences were published
  std::optional<TimePoint> first_token, last_token;
};

}  // namespace skv::engine
