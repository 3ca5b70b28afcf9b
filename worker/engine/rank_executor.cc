#include "worker/engine/rank_executor.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::engine {

using scheduler::Chunk;
using scheduler::PositionClass;
using scheduler::StepPlan;

RankExecutor::RankExecutor(model::LlamaModel* model, kv::KvPool* pool,
                           std::shared_ptr<const text::SentenceSegmenter> segmenter,
                           const Clock& clock)
    : model_(model),
      pool_(pool),
      segmenter_(std::move(segmenter)),
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
    Commit(plan);
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
    SKV_RETURN_IF_ERROR(Admit(admission));
  }
  for (const scheduler::Fork& fork : plan.forked) {
    SKV_RETURN_IF_ERROR(Fork(fork, plan.step_idx));
  }
  return absl::OkStatus();
}

absl::Status RankExecutor::Admit(const scheduler::Admission& admission) {
  auto state = std::make_unique<SequenceState>(
      SequenceState{.params = admission.policy,
                    .num_prompt_tokens = admission.num_prompt_tokens,
                    .tracker = SentenceTracker(segmenter_)});
  state->cache = std::make_unique<kv::SequenceCache>(pool_, admission.num_prompt_tokens,
                                                     admission.sentence_ends);
  SKV_ASSIGN_OR_RETURN(
      state->policy,
      policy::CreatePolicy(admission.policy, model_->sequence_shape(admission.num_prompt_tokens),
                           &state->tracker.sentences()));
  sequences_[admission.id] = std::move(state);
  return absl::OkStatus();
}

absl::Status RankExecutor::Fork(const scheduler::Fork& fork, int64_t step_idx) {
  const auto it = sequences_.find(fork.parent);
  if (it == sequences_.end() || it->second->cache->num_computed() < fork.num_shared_tokens) {
    return absl::InternalError(absl::StrCat("step ", step_idx, " forks sequence ", fork.parent,
                                            ", whose prompt is not computed on this rank"));
  }
  const SequenceState& parent = *it->second;
  auto child =
      std::make_unique<SequenceState>(SequenceState{.params = parent.params,
                                                    .num_prompt_tokens = parent.num_prompt_tokens,
                                                    .tracker = *parent.prompt_tracker,
                                                    .prompt_tracker = parent.prompt_tracker,
                                                    .cache = parent.cache->ForkPrompt()});
  child->policy = parent.policy->ForkPrompt(&child->tracker.sentences());
  sequences_[fork.child] = std::move(child);
  return absl::OkStatus();
}

absl::Status RankExecutor::ReserveChunks(const StepPlan& plan) {
  rows_.clear();
  logit_rows_.clear();
  int row = 0;
  for (const Chunk& chunk : plan.chunks) {
    const auto it = sequences_.find(chunk.id);
    if (it == sequences_.end() || it->second->cache->num_reserved() != chunk.first_position) {
      return absl::InternalError(
          absl::StrCat("step ", plan.step_idx, ": sequence ", chunk.id, " continues at position ",
                       chunk.first_position, ", this rank holds ",
                       it == sequences_.end() ? 0 : it->second->cache->num_reserved()));
    }
    SequenceState& state = *it->second;
    SKV_RETURN_IF_ERROR(state.cache->Reserve(chunk.num_tokens));
    state.tracker.Feed(absl::MakeSpan(plan.tokens).subspan(row, chunk.num_tokens));
    if (state.tracker.num_tokens() == state.num_prompt_tokens) state.prompt_tracker = state.tracker;
    rows_.push_back({.cache = state.cache.get(),
                     .policy = state.policy.get(),
                     .use = &state.step_use,
                     .first_position = chunk.first_position,
                     .num_rows = chunk.num_tokens,
                     .generated = chunk.position_class == PositionClass::kGenerated});
    row += chunk.num_tokens;
    if (chunk.sample) logit_rows_.push_back(row - 1);
  }
  return absl::OkStatus();
}

void RankExecutor::Commit(const StepPlan& plan) {
  for (const Chunk& chunk : plan.chunks) {
    SequenceState& state = *sequences_.at(chunk.id);
    state.cache->Commit();
    state.use += state.step_use;
    total_kv_use_[state.params.name] += std::exchange(state.step_use, {});
  }
  num_tokens_.fetch_add(plan.tokens.size(), std::memory_order_relaxed);
  num_steps_.fetch_add(1, std::memory_order_relaxed);
}

policy::KvUse RankExecutor::kv_use(SequenceId id) const {
  const auto it = sequences_.find(id);
  return it == sequences_.end() ? policy::KvUse() : it->second->use;
}

size_t RankExecutor::index_bytes() const {
  size_t bytes = 0;
  for (const auto& [id, state] : sequences_) bytes += state->policy->index_bytes();
  return bytes;
}

void RankExecutor::Beat() {
  last_beat_.store(clock_.Now().time_since_epoch().count(), std::memory_order_relaxed);
}

double RankExecutor::step_age_seconds() const {
  return ToSeconds(clock_.Now() - TimePoint(Duration(last_beat_.load(std::memory_order_relaxed))));
}

}  // namespace skv::engine
