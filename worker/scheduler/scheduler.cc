#include "worker/scheduler/scheduler.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"
#include "worker/scheduler/batch.h"
#include "worker/scheduler/capacity.h"
#include "worker/scheduler/group.h"

namespace skv::scheduler {
namespace {

absl::Status CheckAtLeastOne(std::string_view flag, int64_t value) {
  if (value >= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(Sv(flag), " is ", value, ", expected at least 1"));
}

}  // namespace

absl::Status SchedulerOptions::Validate() const {
  SKV_RETURN_IF_ERROR(CheckAtLeastOne(
      absl::StrCat("KV capacity in tokens (", Sv(capacity_flag), ")"), capacity_tokens));
  SKV_RETURN_IF_ERROR(CheckAtLeastOne("unit_tokens", unit_tokens));
  SKV_RETURN_IF_ERROR(CheckAtLeastOne("page_tokens", page_tokens));
  SKV_RETURN_IF_ERROR(CheckAtLeastOne("--max-num-seqs", max_num_seqs));
  SKV_RETURN_IF_ERROR(CheckAtLeastOne("max_chunk_tokens", max_chunk_tokens));
  SKV_RETURN_IF_ERROR(CheckAtLeastOne("--max-queue", max_queue));
  if (max_num_batched_tokens >= max_num_seqs) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--max-num-batched-tokens is ", max_num_batched_tokens,
                   ", expected at least --max-num-seqs, ", max_num_seqs));
}

class Scheduler::State {
 public:
  explicit State(const SchedulerOptions& options)
      : options_(options),
        limit_{.kv_tokens = options.capacity_tokens,
               .num_sequences = options.max_num_seqs,
               .num_slots = options.capacity_slots} {}

  absl::Status Add(Request request);
  void End(SequenceId id);
  std::vector<SequenceId> Expire(TimePoint now);
  bool OnToken(SequenceId id, TokenId token, bool finished);
  bool Preempt(SequenceId id);
  PlannedStep Plan();
  bool HasWork() const { return !groups_.empty() || !to_release_.empty(); }
  SchedulerStats stats() const;

 private:
  absl::Status CheckSamples(const Request& request) const;
  absl::Status CheckFits(const Group& group) const;
  Footprint WorstCaseOf(const Group& group) const;
  void UpdateReservation(Group* group);
  void StartRunning(Group* group, StepPlan* plan);
  void StopRunning(Group* group);
  bool EvictFor(const Group& group);
  void Admit(StepPlan* plan);
  void ForkSamples(Group* group, StepPlan* plan);
  void FillBatch(PlannedStep* step);
  void PlanChunk(const Group& group, Sample* sample, PositionClass position_class, int num_tokens,
                 PlannedStep* step);
  void Settle(Group* group);
  Sample* Find(SequenceId id, Group** group);

  const SchedulerOptions options_;
  const Footprint limit_;
  absl::flat_hash_map<const Group*, std::unique_ptr<Group>> groups_;
  absl::flat_hash_map<SequenceId, Group*> group_of_;  // live samples only
  GroupQueue waiting_;
  GroupQueue running_;
  Footprint used_;                      // sum of the running groups' reservations
  std::vector<SequenceId> to_release_;  // by the next plan; their reservation is given back already
  int64_t next_arrival_ = 0;
  int64_t next_step_idx_ = 0;
  int64_t num_preemptions_ = 0;
};

absl::Status Scheduler::State::CheckSamples(const Request& request) const {
  if (request.sample_ids.size() > static_cast<size_t>(options_.max_num_seqs)) {
    return absl::InvalidArgumentError(absl::StrCat("n is ", request.sample_ids.size(),
                                                   ", expected at most ", options_.max_num_seqs,
                                                   " (--max-num-seqs)"));
  }
  std::set<SequenceId> ids;
  for (const SequenceId id : request.sample_ids) {
    if (group_of_.contains(id) || !ids.insert(id).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("sequence id ", id, " is in use, expected a new one for each sample"));
    }
  }
  return absl::OkStatus();
}

absl::Status Scheduler::State::CheckFits(const Group& group) const {
  const Footprint wanted = WorstCaseOf(group);
  if (wanted.kv_tokens > limit_.kv_tokens) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "request needs KV memory for ", wanted.kv_tokens, " tokens (prompt ", group.prompt.size(),
        ", max_tokens ", group.max_tokens, ", n ", group.samples.size(), "), this worker has ",
        limit_.kv_tokens, "; ask for less or raise ", Sv(options_.capacity_flag)));
  }
  if (wanted.num_slots > limit_.num_slots) {
    return absl::ResourceExhaustedError(
        absl::StrCat("request needs working sets of ", wanted.num_slots, " slots (",
                     group.num_slots, " for max_capacity_prompts ", group.policy.budget_tokens,
                     ", n ", group.samples.size(), "), this worker has ", limit_.num_slots,
                     "; ask for less or raise --working-set-memory-bytes"));
  }
  if (waiting_.size() >= static_cast<size_t>(options_.max_queue)) {
    return absl::ResourceExhaustedError(absl::StrCat("queue is full: ", waiting_.size(),
                                                     " requests wait, at most ", options_.max_queue,
                                                     " may (--max-queue); try again later"));
  }
  return absl::OkStatus();
}

absl::Status Scheduler::State::Add(Request request) {
  SKV_RETURN_IF_ERROR(Validate(request));
  SKV_RETURN_IF_ERROR(CheckSamples(request));
  auto group = std::make_unique<Group>();
  for (const SequenceId id : request.sample_ids) group->samples.push_back({.id = id});
  group->samples[0].generated = std::move(request.resume_ids);
  group->prompt = std::move(request.prompt_ids);
  group->sentence_ends = std::move(request.sentence_ends);
  group->policy = std::move(request.policy);
  group->explain_top = request.explain_top;
  group->prompt_kv_tokens =
      PromptKvTokens(group->num_prompt_tokens(), group->sentence_ends, options_.unit_tokens);
  group->max_tokens = request.max_tokens;
  if (options_.working_set_factor > 0) {
    group->num_slots = WorkingSetSlots(group->policy, options_.working_set_factor,
                                       group->num_prompt_tokens() + group->max_tokens);
  }
  group->priority = request.priority;
  group->deadline = request.deadline;
  SKV_RETURN_IF_ERROR(CheckFits(*group));
  group->arrival = next_arrival_++;
  for (const Sample& sample : group->samples) group_of_[sample.id] = group.get();
  waiting_.insert(group.get());
  const Group* key = group.get();
  groups_[key] = std::move(group);
  return absl::OkStatus();
}

Sample* Scheduler::State::Find(SequenceId id, Group** group) {
  const auto it = group_of_.find(id);
  if (it == group_of_.end()) return nullptr;
  *group = it->second;
  for (Sample& sample : it->second->samples) {
    if (sample.id == id) return &sample;
  }
  SKV_CHECK(false) << "sequence " << id << " is not in its group";
  return nullptr;
}

void Scheduler::State::End(SequenceId id) {
  Group* group = nullptr;
  Sample* sample = Find(id, &group);
  if (sample == nullptr) return;
  sample->ended = true;
  group_of_.erase(id);
  Settle(group);
}

// Lets go of what ended samples no longer need to keep.
void Scheduler::State::Settle(Group* group) {
  // The others cannot fork from a prompt that nobody goes on to compute: they start over.
  if (group->running && group->samples[0].ended && group->awaits_fork() && !group->prompt_done()) {
    StopRunning(group);
  }
  const bool keeps_first = group->running && group->awaits_fork();
  std::vector<Sample> kept;
  for (size_t i = 0; i < group->samples.size(); ++i) {
    Sample& sample = group->samples[i];
    if (!sample.ended || (i == 0 && keeps_first)) {
      kept.push_back(std::move(sample));
    } else if (sample.resident) {
      to_release_.push_back(sample.id);
    }
  }
  group->samples = std::move(kept);
  UpdateReservation(group);
  if (!group->samples.empty()) return;
  waiting_.erase(group);
  running_.erase(group);
  groups_.erase(group);
}

std::vector<SequenceId> Scheduler::State::Expire(TimePoint now) {
  std::vector<SequenceId> expired;
  for (const GroupQueue* queue : {&running_, &waiting_}) {
    for (const Group* group : *queue) {
      if (!group->deadline.has_value() || now < *group->deadline) continue;
      for (const Sample& sample : group->samples) {
        if (!sample.ended) expired.push_back(sample.id);
      }
    }
  }
  for (const SequenceId id : expired) End(id);
  return expired;
}

bool Scheduler::State::OnToken(SequenceId id, TokenId token, bool finished) {
  Group* group = nullptr;
  Sample* sample = Find(id, &group);
  if (sample == nullptr) return false;
  sample->generated.push_back(token);
  const bool ended = finished || sample->generated.size() >= static_cast<size_t>(group->max_tokens);
  if (ended) End(id);
  return ended;
}

bool Scheduler::State::Preempt(SequenceId id) {
  Group* group = nullptr;
  if (Find(id, &group) == nullptr || !group->running) return false;
  StopRunning(group);
  group->preempted = true;
  ++num_preemptions_;
  Settle(group);
  return true;
}

Footprint Scheduler::State::WorstCaseOf(const Group& group) const {
  const int num_samples = static_cast<int>(group.samples.size());
  Footprint footprint =
      WorstCase(group.prompt_kv_tokens, group.max_tokens, num_samples, options_.page_tokens);
  footprint.num_slots = int64_t{group.num_slots} * num_samples;
  return footprint;
}

void Scheduler::State::UpdateReservation(Group* group) {
  used_ -= group->reserved;
  group->reserved = group->running && !group->samples.empty() ? WorstCaseOf(*group) : Footprint();
  used_ += group->reserved;
}

void Scheduler::State::StartRunning(Group* group, StepPlan* plan) {
  waiting_.erase(group);
  running_.insert(group);
  group->running = true;
  group->preempted = false;
  UpdateReservation(group);
  Sample& first = group->samples[0];
  first.resident = true;
  plan->admitted.push_back({.id = first.id,
                            .num_prompt_tokens = group->num_prompt_tokens(),
                            .max_tokens_total = group->num_prompt_tokens() + group->max_tokens,
                            .sentence_ends = group->sentence_ends,
                            .policy = group->policy,
                            .explain_top = group->explain_top,
                            .num_slots = group->num_slots});
}

void Scheduler::State::StopRunning(Group* group) {
  for (Sample& sample : group->samples) {
    if (sample.resident) to_release_.push_back(sample.id);
    sample.resident = false;
    sample.num_computed = 0;
  }
  group->running = false;
  UpdateReservation(group);
  running_.erase(group);
  waiting_.insert(group);
}

// Evicts so that `group` fits; false when lower priorities do not hold enough.
bool Scheduler::State::EvictFor(const Group& group) {
  std::vector<Group*> candidates;
  std::vector<Footprint> evictable;
  for (auto it = running_.rbegin(); it != running_.rend(); ++it) {
    if ((*it)->priority >= group.priority) break;
    candidates.push_back(*it);
    evictable.push_back((*it)->reserved);
  }
  const auto evictions = ChooseEvictions(WorstCaseOf(group), used_, limit_, evictable);
  for (const int i : evictions) {
    StopRunning(candidates[i]);
    candidates[i]->preempted = true;
    ++num_preemptions_;
    Settle(candidates[i]);
  }
  return !evictions.empty();
}

void Scheduler::State::Admit(StepPlan* plan) {
  while (!waiting_.empty()) {
    Group* group = *waiting_.begin();
    if (!Fits(WorstCaseOf(*group), used_, limit_) && !EvictFor(*group)) return;
    StartRunning(group, plan);
  }
}

void Scheduler::State::ForkSamples(Group* group, StepPlan* plan) {
  if (!group->prompt_done() || !group->awaits_fork()) return;
  for (Sample& sample : group->samples) {
    if (sample.ended || sample.resident) continue;
    sample.resident = true;
    sample.num_computed = group->num_prompt_tokens();
    plan->forked.push_back({.child = sample.id,
                            .parent = group->samples[0].id,
                            .num_shared_tokens = group->num_prompt_tokens(),
                            .max_tokens_total = group->num_prompt_tokens() + group->max_tokens});
  }
}

void Scheduler::State::PlanChunk(const Group& group, Sample* sample, PositionClass position_class,
                                 int num_tokens, PlannedStep* step) {
  if (num_tokens == 0) return;
  const bool is_prompt = position_class == PositionClass::kPrompt;
  const std::vector<TokenId>& source = is_prompt ? group.prompt : sample->generated;
  const int first = sample->num_computed - (is_prompt ? 0 : group.num_prompt_tokens());
  StepPlan& plan = step->plan;
  plan.tokens.insert(plan.tokens.end(), source.begin() + first,
                     source.begin() + first + num_tokens);
  const int chunk_idx = static_cast<int>(plan.chunks.size());
  plan.chunks.push_back({.id = sample->id,
                         .first_position = sample->num_computed,
                         .num_tokens = num_tokens,
                         .position_class = position_class});
  sample->num_computed += num_tokens;
  const size_t num_draws_before = step->draws.size();
  if (is_prompt && sample->num_computed == group.num_prompt_tokens()) {
    for (const Sample& other : group.samples) {
      if (!other.ended && other.generated.empty()) {
        step->draws.push_back({other.id, chunk_idx, group.num_prompt_tokens()});
      }
    }
  } else if (!is_prompt && BacklogOf(group, *sample).generated_tokens == 0) {
    step->draws.push_back({sample->id, chunk_idx, sample->num_computed});
  }
  plan.chunks.back().sample = step->draws.size() > num_draws_before;
}

void Scheduler::State::FillBatch(PlannedStep* step) {
  std::vector<std::pair<Group*, Sample*>> sequences;
  std::vector<Backlog> backlogs;
  for (Group* group : running_) {
    for (Sample& sample : group->samples) {
      if (sample.ended || !sample.resident) continue;
      sequences.emplace_back(group, &sample);
      backlogs.push_back(BacklogOf(*group, sample));
    }
  }
  const BatchLimits limits{.max_tokens = options_.max_num_batched_tokens,
                           .max_chunk_tokens = options_.max_chunk_tokens};
  for (const Share& share : ShareStep(backlogs, limits)) {
    const auto& [group, sample] = sequences[share.sequence_idx];
    PlanChunk(*group, sample, PositionClass::kPrompt, share.prompt_tokens, step);
    PlanChunk(*group, sample, PositionClass::kGenerated, share.generated_tokens, step);
  }
}

PlannedStep Scheduler::State::Plan() {
  PlannedStep step;
  step.plan.step_idx = next_step_idx_++;
  // A first sample that ended early goes once the others have forked from it. They live, so none of
  // these groups ends here.
  for (Group* group : running_) {
    if (group->samples[0].ended) Settle(group);
  }
  Admit(&step.plan);
  step.plan.released = std::exchange(to_release_, {});
  for (Group* group : running_) ForkSamples(group, &step.plan);
  FillBatch(&step);
  return step;
}

SchedulerStats Scheduler::State::stats() const {
  SchedulerStats stats{.num_waiting = static_cast<int>(waiting_.size()),
                       .num_running = static_cast<int>(running_.size()),
                       .num_running_sequences = used_.num_sequences,
                       .num_preemptions = num_preemptions_,
                       .kv_tokens_reserved = used_.kv_tokens,
                       .kv_tokens_capacity = limit_.kv_tokens,
                       .slots_reserved = used_.num_slots};
  for (const Group* group : waiting_) {
    stats.num_preempted += group->preempted;
    stats.queued_tokens +=
        group->num_prompt_tokens() + int64_t{group->max_tokens} * group->samples.size();
  }
  for (const Group* group : running_) {
    for (const Sample& sample : group->samples) {
      if (sample.ended) continue;
      stats.running_tokens += group->max_tokens;
      if (sample.resident) {
        stats.running_tokens += group->num_prompt_tokens() - sample.num_computed;
      }
    }
  }
  return stats;
}

Scheduler::Scheduler(const SchedulerOptions& options) : state_(std::make_unique<State>(options)) {}
Scheduler::~Scheduler() = default;

absl::Status Scheduler::Add(Request request) { return state_->Add(std::move(request)); }
void Scheduler::Cancel(SequenceId id) { state_->End(id); }
std::vector<SequenceId> Scheduler::Expire(TimePoint now) { return state_->Expire(now); }
bool Scheduler::OnToken(SequenceId id, TokenId token, bool finished) {
  return state_->OnToken(id, token, finished);
}
bool Scheduler::Preempt(SequenceId id) { return state_->Preempt(id); }
PlannedStep Scheduler::Plan() { return state_->Plan(); }
bool Scheduler::HasWork() const { return state_->HasWork(); }
SchedulerStats Scheduler::stats() const { return state_->stats(); }

}  // namespace skv::scheduler
