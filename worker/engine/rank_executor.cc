#include "worker/engine/rank_executor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::engine {

using scheduler::Chunk;
using scheduler::PositionClass;
using scheduler::StepPlan;

namespace {

// The last one is the prompt's end.
std::vector<int> PromptSentenceEnds(const scheduler::Admission& admission) {
  std::vector<int> ends = admission.sentence_ends;
  if (ends.empty() || ends.back() < admission.num_prompt_tokens) {
    ends.push_back(admission.num_prompt_tokens);
  }
  return ends;
}

bool HasContract(const policy::PolicyParams& params) {
  return params.min_recall > 0 && policy::HasBudget(params.name);
}

}  // namespace

RankExecutor::RankExecutor(model::LlamaModel* model, kv::KvPool* pool, kv::SlotPool* slots,
                           comm::Communicator* communicator,
                           std::shared_ptr<const text::SentenceSegmenter> segmenter,
                           const Clock& clock)
    : model_(model),
      pool_(pool),
      slots_(slots),
      communicator_(communicator),
      segmenter_(std::move(segmenter)),
      clock_(clock),
      last_beat_(clock.Now().time_since_epoch().count()) {
  model_->OnProgress([this] { Beat(); });
}

void RankExecutor::StartAudit(double fraction, AuditSink sink) {
  audit_fraction_ = fraction;
  audit_sink_ = std::move(sink);
}

absl::Status RankExecutor::Execute(const StepPlan& plan, std::vector<float>* logits) {
  SKV_RETURN_IF_ERROR(ApplyMembership(plan));
  step_in_place_vectors_ = step_sketch_bytes_ = 0;
  if (!plan.chunks.empty()) {
    SKV_RETURN_IF_ERROR(ReserveChunks(plan));
    SKV_RETURN_IF_ERROR(model_->Forward(
        {.tokens = plan.tokens, .sequences = rows_, .logit_rows = logit_rows_}, logits));
    SKV_RETURN_IF_ERROR(GatherReads(plan));
    SKV_RETURN_IF_ERROR(SumRecall(plan));
    PublishAudit(plan);
    Commit(plan);
  }
  if (prefixes_ != nullptr) SKV_RETURN_IF_ERROR(prefixes_->SealCompleted());
  Beat();
  return absl::OkStatus();
}

absl::Status RankExecutor::ApplyMembership(const StepPlan& plan) {
  for (const SequenceId id : plan.released) {
    if (prefixes_ != nullptr) prefixes_->StopWaiting(id);
    if (sequences_.erase(id) == 0) {
      return absl::InternalError(
          absl::StrCat("step ", plan.step_idx, " releases unknown sequence ", id));
    }
  }
  for (const scheduler::Admission& admission : plan.admitted) {
    SKV_RETURN_IF_ERROR(Admit(admission));
  }
  SKV_RETURN_IF_ERROR(LookUpPrefixes(plan));
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
  const policy::SequenceShape shape = model_->sequence_shape(admission.num_prompt_tokens);
  SKV_ASSIGN_OR_RETURN(state->policy,
                       policy::CreatePolicy(admission.policy, shape, &state->tracker.sentences()));
  if (!admission.prompt_ids.empty()) state->look_up = admission;
  state->explain_top = admission.explain_top;
  if (IsWatched(admission)) {
    const policy::PolicyParams& params = admission.policy;
    auto watched = std::make_unique<policy::WatchedPolicy>(std::move(state->policy), shape);
    if (HasContract(params)) watched->KeepRecall(params.budget_tokens, params.min_recall);
    if (admission.explain_top > 0) watched->WatchReads(PromptSentenceEnds(admission));
    state->policy = std::move(watched);
    StartWatches(admission.id, state.get());
  }
  SKV_RETURN_IF_ERROR(MakeWorkingSet(admission.num_slots, state.get()));
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
  child->explain_top = parent.explain_top;
  if (parent.watched != nullptr) StartWatches(fork.child, child.get());
  if (parent.working_set != nullptr) {
    SKV_RETURN_IF_ERROR(MakeWorkingSet(parent.working_set->num_slots(), child.get()));
  }
  sequences_[fork.child] = std::move(child);
  return absl::OkStatus();
}

absl::Status RankExecutor::MakeWorkingSet(int num_slots, SequenceState* state) {
  if (num_slots == 0) return absl::OkStatus();
  SKV_ASSIGN_OR_RETURN(state->working_set, kv::WorkingSet::Create(slots_, num_slots));
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
    const bool generated = chunk.position_class == PositionClass::kGenerated;
    if (generated && state.watched != nullptr) {
      state.watched->BeginStep(chunk.first_position, chunk.num_tokens);
    }
    rows_.push_back({.cache = state.cache.get(),
                     .policy = state.policy.get(),
                     .use = &state.step_use,
                     .first_position = chunk.first_position,
                     .num_rows = chunk.num_tokens,
                     .generated = generated,
                     .working_set = state.working_set.get()});
    row += chunk.num_tokens;
    if (chunk.sample) logit_rows_.push_back(row - 1);
  }
  return absl::OkStatus();
}

void RankExecutor::Commit(const StepPlan& plan) {
  for (const Chunk& chunk : plan.chunks) {
    SequenceState& state = *sequences_.at(chunk.id);
    state.cache->Commit();
    CountPlacement(&state);
    state.use += state.step_use;
    total_kv_use_[state.params.name] += std::exchange(state.step_use, {});
  }
  num_tokens_.fetch_add(plan.tokens.size(), std::memory_order_relaxed);
  num_steps_.fetch_add(1, std::memory_order_relaxed);
}

void RankExecutor::CountPlacement(SequenceState* state) {
  const policy::KvUse& step = state->step_use;
  if (step.positions == 0) return;
  // Rows of one step are neighbours and read about equally much.
  int64_t in_place_rows = step.attended / step.positions;
  if (state->working_set != nullptr) {
    const kv::WorkingSetUse use = state->working_set->TakeUse();
    in_place_rows = use.in_place_rows;
    total_working_set_use_ += use;
  }
  step_in_place_vectors_ += 2 * in_place_rows + step.scanned_beside / step.positions;
  step_sketch_bytes_ += step.sketch_bytes / step.positions;
}

bool RankExecutor::IsAudited(const policy::PolicyParams& policy) const {
  return audit_fraction_ > 0 && policy::HasBudget(policy.name);
}

bool RankExecutor::IsWatched(const scheduler::Admission& admission) const {
  return admission.explain_top > 0 || HasContract(admission.policy) || IsAudited(admission.policy);
}

void RankExecutor::StartWatches(SequenceId id, SequenceState* state) const {
  state->watched = static_cast<policy::WatchedPolicy*>(state->policy.get());
  if (IsAudited(state->params)) state->watched->Audit(audit_fraction_, id);
  if (state->watched->reads() == nullptr) return;
  state->reads.emplace(state->watched->reads()->sentence_ends(), model_->num_heads_of_group(),
                       state->explain_top);
}

const policy::WatchedPolicy* RankExecutor::Watched(const Chunk& chunk) const {
  if (chunk.position_class != PositionClass::kGenerated) return nullptr;
  return sequences_.at(chunk.id)->watched;
}

absl::Status RankExecutor::GatherReads(const StepPlan& plan) {
  std::vector<float> own;
  for (const Chunk& chunk : plan.chunks) {
    const policy::WatchedPolicy* const watched = Watched(chunk);
    if (watched == nullptr || watched->reads() == nullptr) continue;
    const std::span<const float> reads = watched->reads()->step_reads();
    own.insert(own.end(), reads.begin(), reads.end());
  }
  if (own.empty()) return absl::OkStatus();
  const bool leader = communicator_->rank() == 0;
  const std::vector<size_t> counts(communicator_->world_size(), own.size());
  std::vector<float> all(leader ? counts.size() * own.size() : 0);
  SKV_RETURN_IF_ERROR(
      communicator_->Gather(own.data(), counts.data(), leader ? all.data() : nullptr));
  if (leader) LogReads(plan, all);
  return absl::OkStatus();
}

void RankExecutor::LogReads(const StepPlan& plan, const std::vector<float>& all) {
  std::vector<const float*> rank_reads(communicator_->world_size());
  const size_t stride = all.size() / rank_reads.size();
  for (size_t rank = 0; rank < rank_reads.size(); ++rank) {
    rank_reads[rank] = all.data() + rank * stride;
  }
  for (const Chunk& chunk : plan.chunks) {
    const policy::WatchedPolicy* const watched = Watched(chunk);
    if (watched == nullptr || watched->reads() == nullptr) continue;
    const size_t num_sentences = watched->reads()->sentence_ends().size();
    SequenceState& state = *sequences_.at(chunk.id);
    for (int i = 0; i < chunk.num_tokens; ++i) {
      const int begin = state.tracker.SentenceBegin(chunk.first_position + i);
      state.reads->Add(std::max(begin - state.num_prompt_tokens, 0), rank_reads);
      for (const float*& reads : rank_reads) reads += 2 * num_sentences;
    }
  }
}

absl::Status RankExecutor::SumRecall(const StepPlan& plan) {
  std::vector<SequenceState*> bound;
  std::vector<double> sums;  // three a sequence; exact, whatever the order of ranks
  for (const Chunk& chunk : plan.chunks) {
    const policy::WatchedPolicy* const watched = Watched(chunk);
    if (watched == nullptr || watched->contract() == nullptr) continue;
    const policy::RecallCounts& counts = watched->contract()->step_counts();
    bound.push_back(sequences_.at(chunk.id).get());
    for (const int64_t count : {counts.checked, counts.widened, counts.full}) {
      sums.push_back(static_cast<double>(count));
    }
  }
  if (bound.empty()) return absl::OkStatus();
  SKV_RETURN_IF_ERROR(communicator_->AllReduceSum(sums.data(), sums.size()));
  for (size_t i = 0; i < bound.size(); ++i) {
    const policy::RecallCounts counts = {.checked = static_cast<int64_t>(sums[3 * i]),
                                         .widened = static_cast<int64_t>(sums[3 * i + 1]),
                                         .full = static_cast<int64_t>(sums[3 * i + 2])};
    bound[i]->recall += counts;
    total_recall_[bound[i]->params.name] += counts;
  }
  return absl::OkStatus();
}

void RankExecutor::PublishAudit(const StepPlan& plan) const {
  for (const Chunk& chunk : plan.chunks) {
    const policy::WatchedPolicy* const watched = Watched(chunk);
    if (watched == nullptr || watched->audit() == nullptr) continue;
    const auto samples = watched->audit()->step_samples();
    if (!samples.empty()) audit_sink_(sequences_.at(chunk.id)->params.name, samples);
  }
}

ReadLog* RankExecutor::read_log(SequenceId id) {
  const auto it = sequences_.find(id);
  return it == sequences_.end() || !it->second->reads ? nullptr : &*it->second->reads;
}

policy::KvUse RankExecutor::kv_use(SequenceId id) const {
  const auto it = sequences_.find(id);
  return it == sequences_.end() ? policy::KvUse() : it->second->use;
}

policy::RecallCounts RankExecutor::recall_counts(SequenceId id) const {
  const auto it = sequences_.find(id);
  return it == sequences_.end() ? policy::RecallCounts() : it->second->recall;
}

int64_t RankExecutor::num_held_tokens() const {
  int64_t num_tokens = 0;
  for (const auto& [id, state] : sequences_) num_tokens += state->cache->num_reserved();
  return num_tokens;
}

size_t RankExecutor::index_bytes() const {
  size_t bytes = 0;
  for (const auto& [id, state] : sequences_) bytes += state->policy->index_bytes();
  return bytes;
}

size_t RankExecutor::sketch_bytes() const {
  size_t bytes = 0;
  for (const auto& [id, state] : sequences_) bytes += state->policy->sketch_bytes();
  return bytes;
}

size_t RankExecutor::working_set_bytes() const {
  size_t bytes = 0;
  for (const auto& [id, state] : sequences_) {
    if (state->working_set != nullptr) bytes += state->working_set->size_bytes();
  }
  return bytes;
}

size_t RankExecutor::step_in_place_bytes() const {
  return step_in_place_vectors_ * pool_->layout().RowBytes() + step_sketch_bytes_;
}

void RankExecutor::Beat() {
  last_beat_.store(clock_.Now().time_since_epoch().count(), std::memory_order_relaxed);
}

double RankExecutor::step_age_seconds() const {
  return ToSeconds(clock_.Now() - TimePoint(Duration(last_beat_.load(std::memory_order_relaxed))));
}

}  // namespace skv::engine
