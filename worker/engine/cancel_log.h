#pragma once
// What a worker really did for the samples that were cancelled: how far they had come, and how many
// steps still carried them. Reads the plans that are run, not the scheduler's mind. Engine thread
// only.

#include <array>
#include <cstdint>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "worker/scheduler/step_plan.h"

namespace skv::engine {

// Where a sample was when its cancel arrived.
enum class CancelPhase {
  kWaiting,    // no step had begun on its prompt
  kPrefill,    // a part of its prompt was computed, or being computed, and no more ever was
  kPromptEnd,  // the step that computed the end of its prompt was running
  kDecode,     // it had its first token
};
inline constexpr int kNumCancelPhases = 4;

struct CancelStats {
  std::array<int64_t, kNumCancelPhases> by_phase = {};  // cancelled samples
  // Most steps that carried a sample and had not ended when its cancel arrived, as if it had been
  // in each up to the last one; the step that ran then is one. Right: at most 1.
  int64_t max_steps_after = 0;
};

class CancelLog {
 public:
  // Before `plan` is run; every plan, in order.
  void OnStep(const scheduler::StepPlan& plan);
  // A live sample is cancelled; when the cancel arrived, the first `num_ended` steps had ended.
  void OnCancel(SequenceId id, int64_t num_ended);

  const CancelStats& stats() const { return stats_; }

 private:
  // Of a sequence that holds KV memory.
  struct Progress {
    int num_prompt_tokens = 0;
    std::optional<int64_t> prompt_end_step;  // computes the end of its prompt
    int64_t last_step = -1;                  // the last that carried it; -1: none yet
    std::optional<int64_t> cancelled_at;     // steps that had ended
  };
  static CancelPhase PhaseOf(const Progress& progress, int64_t num_ended);
  void Release(SequenceId id);

  absl::flat_hash_map<SequenceId, Progress> sequences_;
  CancelStats stats_;
};

}  // namespace skv::engine
