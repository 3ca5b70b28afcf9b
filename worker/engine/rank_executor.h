#pragma once
// Carries out step plans on one rank: keeps each admitted sequence's cache and policy, and runs the
// batch. Leader and followers use the same class, so a rank holds no state that the plans do not
// imply. Engine thread only; step_age_seconds, num_steps and num_tokens from any thread.

#include <atomic>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "common/clock.h"
#include "worker/kv/kv_pool.h"
#include "worker/kv/sequence_cache.h"
#include "worker/model/llama_model.h"
#include "worker/policy/kv_policy.h"
#include "worker/scheduler/step_plan.h"

namespace skv::engine {

class RankExecutor {
 public:
  // Model and pool outlive the executor.
  RankExecutor(model::LlamaModel* model, kv::KvPool* pool, const Clock& clock);

  // Releases, admits, forks and runs the chunks of `plan`. On rank 0 `logits` then holds one row of
  // vocab_size for each chunk with `sample`, in chunk order.
  // Internal: a plan that does not fit this rank's state (ranks lost step). Aborted: a collective
  // failed. After either the group must end.
  absl::Status Execute(const scheduler::StepPlan& plan, std::vector<float>* logits);

  // Seconds since this rank last ended a layer or a step: its heartbeat.
  double step_age_seconds() const;
  int64_t num_steps() const { return num_steps_.load(std::memory_order_relaxed); }
  int64_t num_tokens() const { return num_tokens_.load(std::memory_order_relaxed); }
  const kv::KvPool& pool() const { return *pool_; }

 private:
  struct SequenceState {
    int num_prompt_tokens;
    std::unique_ptr<kv::SequenceCache> cache;
    std::unique_ptr<policy::KvPolicy> policy;
  };
  void Beat();
  absl::Status ApplyMembership(const scheduler::StepPlan& plan);
  absl::Status ReserveChunks(const scheduler::StepPlan& plan);

  model::LlamaModel* const model_;
  kv::KvPool* const pool_;
  const Clock& clock_;
  absl::flat_hash_map<SequenceId, SequenceState> sequences_;
  std::vector<model::SequenceRows> rows_;
  std::vector<int> logit_rows_;
  std::atomic<Duration::rep> last_beat_;
  std::atomic<int64_t> num_steps_{0};
  std::atomic<int64_t> num_tokens_{0};
};

}  // namespace skv::engine
