#pragma once
// What each running sequence computes in a step, and what is drawn from it.

#include "worker/scheduler/batch.h"
#include "worker/scheduler/group.h"
#include "worker/scheduler/planned_step.h"

namespace skv::scheduler {

// Shares the step among the sequences of `running` (batch.h) and appends their chunks, tokens and
// draws to `step`; from then on their num_computed counts these tokens. Sequences that are not
// resident, or whose look-up is not answered, have no share.
void FillBatch(const GroupQueue& running, const BatchLimits& limits, PlannedStep* step);

}  // namespace skv::scheduler
