#include "worker/scheduler/scheduler.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"
#include "worker/scheduler/capacity.h"
#include "worker/scheduler/chunks.h"
#include "worker/scheduler/group.h"

namespace skv::scheduler {
class Scheduler::State {
 public:
  explicit State(const SchedulerOptions& options)
      : options_(options),
        limit_{.kv_tokens = options.capacity_tokens,
               .num_sequences = options.max_num_seqs,
               .num_slots = options.capacity_slots},
        batch_limits_{.max_tokens = options.max_num_batched_tokens,
                      .max_chunk_tokens = options.max_chunk_tokens} {}

  absl::Status Add(Request request);
  void End(SequenceId id);
  std::vector<SequenceId> Expire(TimePoint now);
  bool OnToken(SequenceId id, TokenId token, bool finished);
  void OnLookUp(SequenceId id, const LookUpResult& result);
  void LookUpAgain(SequenceId id, bool may_wait);
  bool Preempt(SequenceId id);
  PlannedStep Plan();
  bool HasWork() const;
  bool is_holding() const;
  SchedulerStats stats() const;

 private:
  absl::Status CheckSamples(const Request& request) const;
  absl::Status CheckFits(const Group& group) const;
  Footprint WorstCaseOf(const Group& group) const { return group.WorstCase(options_.page_tokens); }
  void UpdateReservation(Group* group);
  void StartRunning(Group* group, StepPlan* plan);
  void StopRunning(Group* group);
  void Evict(Group* group);
  std::vector<Group*> EvictionsFor(const Group& group) const;
  bool FitsNow(const Group& group) const { return Fits(WorstCaseOf(group), used_, limit_); }
  void Admit(StepPlan* plan);
  void PlanLookUps(StepPlan* plan);
  void ForkSamples(Group* group, StepPlan* plan);
  void Settle(Group* group);
  Sample* Find(SequenceId id, Group** group);
  Group* FindLookUp(SequenceId id);

  const SchedulerOptions options_;
  const Footprint limit_;
  const BatchLimits batch_limits_;
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
  std::unique_ptr<Group> group = MakeGroup(std::move(request), options_);
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

// The group whose first sample, which looks up for all, is `id`.
Group* Scheduler::State::FindLookUp(SequenceId id) {
  Group* group = nullptr;
  const Sample* sample = Find(id, &group);
  return sample != nullptr && sample == &group->samples[0] ? group : nullptr;
}

void Scheduler::State::OnLookUp(SequenceId id, const LookUpResult& result) {
  Group* group = FindLookUp(id);
  if (group == nullptr || group->look_up != LookUpState::kAsked) return;
  if (result.in_progress) {
    group->look_up = LookUpState::kHeld;
    return;
  }
  SKV_CHECK(result.num_cached_tokens >= 0 && result.num_cached_tokens <= group->max_cached_tokens)
      << "sequence " << id << " found " << result.num_cached_tokens << " tokens, looked up "
      << group->max_cached_tokens;
  SKV_CHECK(result.private_kv_tokens >= 0 && result.private_kv_tokens <= group->prompt_kv_tokens)
      << "sequence " << id << " takes " << result.private_kv_tokens
      << " tokens of the pool, all of "
      << "its prompt " << group->prompt_kv_tokens;
  group->look_up = LookUpState::kNone;
  group->samples[0].num_computed = result.num_cached_tokens;
  group->private_kv_tokens = result.private_kv_tokens;
  UpdateReservation(group);
}

void Scheduler::State::LookUpAgain(SequenceId id, bool may_wait) {
  Group* group = FindLookUp(id);
  if (group == nullptr) return;
  if (group->look_up == LookUpState::kHeld) {
    group->look_up = LookUpState::kDue;
    group->may_wait = may_wait;
  } else if (group->look_up == LookUpState::kDue) {
    group->may_wait = group->may_wait && may_wait;
  }
}

bool Scheduler::State::Preempt(SequenceId id) {
  Group* group = nullptr;
  if (Find(id, &group) == nullptr || !group->running) return false;
  Evict(group);
  return true;
}

void Scheduler::State::UpdateReservation(Group* group) {
  used_ -= group->reserved;
  group->reserved = Footprint();
  if (group->running && !group->samples.empty()) {
    group->reserved = WorstCaseOf(*group);
    group->reserved.kv_tokens -= group->prompt_kv_tokens - group->private_kv_tokens;
  }
  used_ += group->reserved;
}

void Scheduler::State::StartRunning(Group* group, StepPlan* plan) {
  waiting_.erase(group);
  running_.insert(group);
  group->running = true;
  group->preempted = false;
  group->private_kv_tokens = group->prompt_kv_tokens;
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
  if (group->max_cached_tokens == 0) return;
  Admission& admission = plan->admitted.back();
  admission.prompt_ids = group->prompt;
  admission.prefix_root = group->prefix_root;
  admission.max_cached_tokens = group->max_cached_tokens;
  group->look_up = LookUpState::kAsked;
}

void Scheduler::State::StopRunning(Group* group) {
  for (Sample& sample : group->samples) {
    if (sample.resident) to_release_.push_back(sample.id);
    sample.resident = false;
    sample.num_computed = 0;
  }
  group->running = false;
  group->look_up = LookUpState::kNone;
  UpdateReservation(group);
  running_.erase(group);
  waiting_.insert(group);
}

void Scheduler::State::Evict(Group* group) {
  StopRunning(group);
  group->preempted = true;
  ++num_preemptions_;
  Settle(group);
}

// Who has to go so that `group`, which does not fit, does; none when lower priorities do not hold
// enough.
std::vector<Group*> Scheduler::State::EvictionsFor(const Group& group) const {
  std::vector<Group*> candidates;
  std::vector<Footprint> evictable;
  for (auto it = running_.rbegin(); it != running_.rend(); ++it) {
    if ((*it)->priority >= group.priority) break;
    candidates.push_back(*it);
    evictable.push_back((*it)->reserved);
  }
  std::vector<Group*> evictions;
  for (const int i : ChooseEvictions(WorstCaseOf(group), used_, limit_, evictable)) {
    evictions.push_back(candidates[i]);
  }
  return evictions;
}

void Scheduler::State::Admit(StepPlan* plan) {
  while (!waiting_.empty()) {
    Group* group = *waiting_.begin();
    if (!FitsNow(*group)) {
      const std::vector<Group*> evictions = EvictionsFor(*group);
      if (evictions.empty()) return;
      for (Group* other : evictions) Evict(other);
    }
    StartRunning(group, plan);
  }
}

void Scheduler::State::PlanLookUps(StepPlan* plan) {
  for (Group* group : running_) {
    if (group->look_up != LookUpState::kDue) continue;
    plan->lookups.push_back({.id = group->samples[0].id, .may_wait = group->may_wait});
    group->look_up = LookUpState::kAsked;
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
  PlanLookUps(&step.plan);
  for (Group* group : running_) ForkSamples(group, &step.plan);
  FillBatch(running_, batch_limits_, &step);
  return step;
}

bool Scheduler::State::HasWork() const {
  if (!to_release_.empty()) return true;
  for (const Group* group : running_) {
    if (group->look_up != LookUpState::kHeld) return true;
  }
  if (waiting_.empty()) return false;
  const Group& next = **waiting_.begin();
  return FitsNow(next) || !EvictionsFor(next).empty();
}

bool Scheduler::State::is_holding() const {
  return std::any_of(running_.begin(), running_.end(),
                     [](const Group* group) { return group->look_up == LookUpState::kHeld; });
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
    stats.num_held += group->look_up == LookUpState::kHeld;
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
void Scheduler::OnLookUp(SequenceId id, const LookUpResult& result) {
  state_->OnLookUp(id, result);
}
void Scheduler::LookUpAgain(SequenceId id, bool may_wait) { state_->LookUpAgain(id, may_wait); }
bool Scheduler::Preempt(SequenceId id) { return state_->Preempt(id); }
PlannedStep Scheduler::Plan() { return state_->Plan(); }
bool Scheduler::HasWork() const { return state_->HasWork(); }
bool Scheduler::is_holding() const { return state_->is_holding(); }
SchedulerStats Scheduler::stats() const { return state_->stats(); }

}  // namespace skv::scheduler
