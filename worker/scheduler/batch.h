#pragma once
// Who runs in a step, and with how many tokens.

#include <vector>

#include "absl/types/span.h"

namespace skv::scheduler {

// What a running sequence has still to compute.
struct Backlog {
  int prompt_tokens = 0;
  int generated_tokens = 0;  // one: a decode; more: a replay
};

struct Share {
  int sequence_idx = 0;  // into the backlogs
  int prompt_tokens = 0;
  int generated_tokens = 0;
};

struct BatchLimits {
  int max_tokens = 0;        // of the step
  int max_chunk_tokens = 0;  // of one sequence
};

// `backlogs` come in order of rank (priority, then arrival). Decodes get their token before anyone
// else; what is left goes to the others in their order, as much to each as the limits allow. Prompt
// before generated tokens within a sequence. Sequences without a share are left out.
std::vector<Share> ShareStep(absl::Span<const Backlog> backlogs, const BatchLimits& limits);

}  // namespace skv::scheduler
