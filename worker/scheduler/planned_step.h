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
