#pragma once
// What the scheduler answers: a plan for all ranks, and what the leader draws from its logits.

#include <vector>

#include "common/types.h"
#include "worker/scheduler/step_plan.h"

namespace skv::scheduler {

// A token to draw after the step has run.
struct Draw {
  SequenceId id = 0;
  int chunk_idx = 0;  // from the logits of this chunk; samples share the end of their prompt
  int position = 0;   // of the token to be drawn
  bool operator==(const Draw&) const = default;
};

// What the ranks say to a look-up that a plan asked for.
struct LookUpResult {
  int num_cached_tokens = 0;      // of the prompt, computed before: from its start on
  int64_t private_kv_tokens = 0;  // KV tokens of the pool that its other prompt tokens will take
  bool in_progress = false;       // others are computing its prefix; then the rest says nothing
};

struct PlannedStep {
  StepPlan plan;
  std::vector<Draw> draws;  // the leader's: in order of chunk_idx, then of the samples

  // Nothing to run, to look up and to release: the engine may wait instead of stepping.
  bool empty() const {
    return plan.chunks.empty() && plan.released.empty() && plan.forked.empty() &&
           plan.admitted.empty() && plan.lookups.empty();
  }
};

}  // namespace skv::scheduler
