#pragma once
// How many steps a sequence still takes part in once it has been cancelled, seen in the engine.

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace skv::eval {

struct CancelLatencyOptions {
  std::string model_path;
  int num_threads = 2;
  int num_streams = 64;
  int prompt_tokens = 48;
  int prefill_prompt_tokens = 600;  // of a quarter of the cancelled half
  int victim_tokens = 400;          // at most; more than a victim gets to see
  uint64_t seed = 1;
};

struct CancelLatencyReport {
  int num_cancels = 0;             // of sequences that had not ended
  int num_cancels_in_prefill = 0;  // of these, before the first token
  // Steps that ended after Cancel had returned and had the cancelled sequence in them; the step
  // that was running then is one. Right: at most 1.
  int max_steps_after_cancel = 0;
};

// Loads the model into this process. Errors as the loader's; Internal: an engine lost a request.
absl::StatusOr<CancelLatencyReport> MeasureCancelLatency(const CancelLatencyOptions& options);

}  // namespace skv::eval
