#include "worker/engine/rank_executor.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::engine {

using scheduler::Chunk;
using scheduler::PositionClass;
using scheduler::StepPlan;

RankExecutor::RankExecutor(model::LlamaModel* model, kv::KvPool* pool, const Clock& clock)
    : model_(model),
      pool_(pool),
      clock_(clock),
      last_beat_(clock.Now().time_since_epoch().count()) {
  model_->OnProgress([this] { Beat(); });
}

absl::Status RankExecutor::Execute(const StepPlan& plan, std::vector<float>* logits) {
  SKV_RETURN_IF_ERROR(ApplyMembership(plan));
  if (!plan.chunks.empty()) {
    SKV_RETURN_IF_ERROR(ReserveChunks(plan));
    SKV_RETURN_IF_ERROR(model_->Forward(
        {.tokens = plan.tokens, .sequences = rows_, .logit_rows = logit_rows_}, logits));
    for (const Chunk& chunk : plan.chunks) sequences_.at(chunk.id).cache->Commit();
    num_tokens_.fetch_add(plan.tokens.size(), std::memory_order_relaxed);
    num_steps_.fetch_add(1, std::memory_order_relaxed);
  }
  Beat();
  return absl::OkStatus();
}

absl::Status RankExecutor::ApplyMembership(const StepPlan& plan) {
  for (const SequenceId id : plan.released) {
    if (sequences_.erase(id) == 0) {
      return absl::InternalError(
          absl::StrCat("step ", plan.step_idx, " releases unknown sequence ", id));
    }
  }
  for (const scheduler::Admission& admission : plan.admitted) {
    SKV_ASSIGN_OR_RETURN(auto policy, policy::CreatePolicy("full"));
    auto cache = std::make_unique<kv::SequenceCache>(pool_, admission.num_prompt_tokens);
    sequences_[admission.id] = {admission.num_prompt_tokens, std::move(cache), std::move(policy)};
  }
  for (const scheduler::Fork& fork : plan.forked) {
    const auto parent = sequences_.find(fork.parent);
    if (parent == sequences_.end() ||
        parent->second.cache->num_computed() < fork.num_shared_tokens) {
      return absl::InternalError(absl::StrCat("step ", plan.step_idx, " forks sequence ",
                                              fork.parent,
                                              ", whose prompt is not computed on this rank"));
    }
    SKV_ASSIGN_OR_RETURN(auto policy, policy::CreatePolicy("full"));
    SequenceState child{parent->second.num_prompt_tokens, parent->second.cache->ForkPrompt(),
                        std::move(policy)};
    sequences_[fork.child] = std::move(child);
  }
  return absl::OkStatus();
}

absl::Status RankExecutor::ReserveChunks(const StepPlan& plan) {
  rows_.clear();
  logit_rows_.clear();
  int row = 0;
  for (const Chunk& chunk : plan.chunks) {
    const auto it = sequences_.find(chunk.id);
    if (it == sequences_.end() || it->second.cache->num_reserved() != chunk.first_position) {
      return absl::InternalError(
          absl::StrCat("step ", plan.step_idx, ": sequence ", chunk.id, " continues at position ",
                       chunk.first_position, ", this rank holds ",
                       it == sequences_.end() ? 0 : it->second.cache->num_reserved()));
    }
    SequenceState& state = it->second;
    SKV_RETURN_IF_ERROR(state.cache->Reserve(chunk.num_tokens));
    const int end = chunk.first_position + chunk.num_tokens;
    rows_.push_back({.cache = state.cache.get(),
                     .policy = state.policy.get(),
                     .first_position = chunk.first_position,
                     .num_rows = chunk.num_tokens,
                     .generated = chunk.position_class == PositionClass::kGenerated,
                     .prompt_ends = end == state.num_prompt_tokens});
    row += chunk.num_tokens;
    if (chunk.sample) logit_rows_.push_back(row - 1);
  }
  return absl::OkStatus();
}

void RankExecutor::Beat() {
  last_beat_.store(clock_.Now().time_since_epoch().count(), std::memory_order_relaxed);
}

double RankExecutor::step_age_seconds() const {
  return ToSeconds(clock_.Now() - TimePoint(Duration(last_beat_.load(std::memory_order_relaxed))));
}

}  // namespace skv::engine
