#include "worker/engine/cancel_log.h"

#include <algorithm>

namespace skv::engine {

using scheduler::PositionClass;

void CancelLog::OnStep(const scheduler::StepPlan& plan) {
  for (const SequenceId id : plan.released) Release(id);
  for (const scheduler::Admission& admission : plan.admitted) {
    sequences_[admission.id] = {.num_prompt_tokens = admission.num_prompt_tokens};
  }
  for (const scheduler::Fork& fork : plan.forked) {
    const Progress& parent = sequences_[fork.parent];
    const Progress child = {.num_prompt_tokens = fork.num_shared_tokens,
                            .prompt_end_step = parent.prompt_end_step,
                            .last_step = parent.last_step};
    sequences_[fork.child] = child;
  }
  for (const scheduler::Chunk& chunk : plan.chunks) {
    Progress& progress = sequences_[chunk.id];
    progress.last_step = plan.step_idx;
    if (chunk.position_class == PositionClass::kPrompt &&
        chunk.first_position + chunk.num_tokens == progress.num_prompt_tokens) {
      progress.prompt_end_step = plan.step_idx;
    }
  }
}

CancelPhase CancelLog::PhaseOf(const Progress& progress, int64_t num_ended) {
  if (progress.last_step < 0) return CancelPhase::kWaiting;
  if (!progress.prompt_end_step) return CancelPhase::kPrefill;
  return *progress.prompt_end_step >= num_ended ? CancelPhase::kPromptEnd : CancelPhase::kDecode;
}

void CancelLog::OnCancel(SequenceId id, int64_t num_ended) {
  const auto it = sequences_.find(id);
  const CancelPhase phase =
      it == sequences_.end() ? CancelPhase::kWaiting : PhaseOf(it->second, num_ended);
  ++stats_.by_phase[static_cast<int>(phase)];
  if (it != sequences_.end()) it->second.cancelled_at = num_ended;
}

void CancelLog::Release(SequenceId id) {
  const auto it = sequences_.find(id);
  if (it == sequences_.end()) return;
  const Progress& progress = it->second;
  if (progress.cancelled_at) {
    stats_.max_steps_after =
        std::max(stats_.max_steps_after, progress.last_step - *progress.cancelled_at + 1);
  }
  sequences_.erase(it);
}

}  // namespace skv::engine
