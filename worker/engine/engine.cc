#include "worker/engine/engine.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"
#include "worker/engine/open_request.h"

namespace skv::engine {
namespace {

using scheduler::PlannedStep;
using scheduler::StepPlan;

// An idle leader sends an empty plan this often, so that followers know that it lives.
constexpr auto kIdleBeat = std::chrono::milliseconds(500);
// One whose requests all wait for prefixes that others compute asks for them this often.
constexpr auto kHoldingBeat = std::chrono::milliseconds(2);
// A follower without a plan for so long takes the leader for lost.
constexpr int kPlanTimeoutMs = 10000;

}  // namespace

Engine::Engine(EngineOptions options, RankExecutor* executor, comm::Communicator* communicator,
               const Clock& clock, StepObserver* observer)
    : options_(std::move(options)),
      executor_(executor),
      communicator_(communicator),
      clock_(clock),
      observer_(observer),
      scheduler_(options_.scheduler),
      sampler_(options_.vocab_size) {
  UpdateStats();
}

Engine::~Engine() = default;

absl::Status Engine::Run() {
  absl::Status status;
  while (status.ok()) {
    {
      MutexLock lock(&mutex_);
      if (shutdown_) break;
    }
    status = Step();
  }
  if (status.ok()) {
    FinishAll(FinishReason::kError,
              absl::UnavailableError("the worker shut down before the request ended"));
    std::string last = scheduler::Encode(StepPlan{.shutdown = true});
    status = communicator_->Broadcast(&last, kPlanTimeoutMs);
  } else {
    FinishAll(FinishReason::kError,
              absl::UnavailableError(absl::StrCat("worker group failed: ", status.message())));
  }
  UpdateStats();
  return status;
}

absl::Status Engine::Step() {
  TakeCommands();
  ExpireDeadlines();
  LookUpAgain();
  const PlannedStep step = scheduler_.Plan();
  std::string bytes = scheduler::Encode(step.plan);
  SKV_RETURN_IF_ERROR(communicator_->Broadcast(&bytes, kPlanTimeoutMs));
  MarkScheduled(step);
  cancel_log_.OnStep(step.plan);
  UpdateStats();
  SKV_RETURN_IF_ERROR(executor_->Execute(step.plan, &logits_));
  TakeLookUps();
  {
    MutexLock lock(&mutex_);
    num_ended_ = step.plan.step_idx + 1;
  }
  totals_.num_prefills = 0;
  if (observer_ != nullptr) observer_->OnStep(step, logits_);
  SampleAndPublish(step, logits_);
  UpdateStats();
  return absl::OkStatus();
}

void Engine::TakeCommands() {
  std::vector<Command> commands;
  {
    MutexLock lock(&mutex_);
    if (!scheduler_.HasWork()) {
      const Duration beat = scheduler_.is_holding() ? Duration(kHoldingBeat) : Duration(kIdleBeat);
      has_commands_.WaitUntil(&mutex_, std::chrono::steady_clock::now() + beat,
                              [&] { return !commands_.empty() || shutdown_; });
    }
    commands.swap(commands_);
  }
  for (Command& command : commands) Apply(std::move(command));
}

void Engine::Apply(Command command) {
  switch (command.kind) {
    case CommandKind::kSubmit:
      return Open(command.id, std::move(command.request));
    case CommandKind::kCancel:
      return CancelRequest(command.id, command.num_ended);
    case CommandKind::kCancelSample:
    case CommandKind::kPreempt:
      break;
  }
  const auto it = requests_.find(command.id);
  if (it == requests_.end()) return;
  const std::vector<SequenceId>& sequences = it->second->sequences;
  if (command.kind == CommandKind::kPreempt) {
    // Any sample that has not ended stands for all: they are evicted together.
    std::any_of(sequences.begin(), sequences.end(),
                [this](SequenceId sequence) { return scheduler_.Preempt(sequence); });
  } else if (command.sample_idx >= 0 && command.sample_idx < static_cast<int>(sequences.size())) {
    CancelSequence(sequences[command.sample_idx], command.num_ended);
  }
}

void Engine::Open(RequestId id, std::unique_ptr<OpenRequest> open) {
  const GenerationRequest& request = open->request;
  open->num_live = static_cast<int>(request.seeds.size());
  for (int i = 0; i < open->num_live; ++i) {
    const SequenceId sequence = next_sequence_++;
    open->sequences.push_back(sequence);
    samples_.emplace(sequence,
                     Sample{.request = id, .open = open.get(), .sample_idx = i, .sampling = {}});
  }
  const absl::Status status = scheduler_.Add({.sample_ids = open->sequences,
                                              .prompt_ids = request.prompt_ids,
                                              .sentence_ends = std::move(open->sentence_ends),
                                              .prefix_root = PrefixRoot(request),
                                              .max_cached_tokens = MaxCachedTokens(request),
                                              .resume_ids = request.resume_ids,
                                              .policy = request.policy,
                                              .explain_top = request.explain_top,
                                              .max_tokens = request.max_tokens,
                                              .priority = request.priority,
                                              .deadline = request.deadline});
  const std::vector<SequenceId> sequences = open->sequences;
  requests_.emplace(id, std::move(open));
  if (status.ok()) return;
  for (const SequenceId sequence : sequences) FinishSample(sequence, FinishReason::kError, status);
}

void Engine::CancelRequest(RequestId id, int64_t num_ended) {
  const auto it = requests_.find(id);
  if (it == requests_.end()) return;
  const std::vector<SequenceId> sequences = it->second->sequences;  // it dies with its last sample
  for (const SequenceId sequence : sequences) CancelSequence(sequence, num_ended);
}

void Engine::CancelSequence(SequenceId id, int64_t num_ended) {
  if (!samples_.contains(id)) return;
  cancel_log_.OnCancel(id, num_ended);
  scheduler_.Cancel(id);
  FinishSample(id, FinishReason::kCancelled, absl::OkStatus());
}

void Engine::ExpireDeadlines() {
  for (const SequenceId sequence : scheduler_.Expire(clock_.Now())) {
    FinishSample(sequence, FinishReason::kDeadline, absl::OkStatus());
  }
}

void Engine::MarkScheduled(const PlannedStep& step) {
  for (const SequenceId id : step.plan.released) prefix_waits_.Forget(id);
  for (const scheduler::Admission& admission : step.plan.admitted) {
    // One that looks up starts with the answer.
    if (admission.prompt_ids.empty()) StartOnce(samples_.at(admission.id).open);
  }
  for (const scheduler::Chunk& chunk : step.plan.chunks) {
    if (chunk.position_class == scheduler::PositionClass::kPrompt) {
      totals_.num_prompt_tokens += chunk.num_tokens;
      ++totals_.num_prefills;
    }
  }
}

void Engine::StartOnce(OpenRequest* open) {
  if (open->scheduled) return;  // evicted and back
  open->scheduled = clock_.Now();
  StartSampling(*open);
}

// Not before: what the draws need of a prompt would multiply by the length of the queue.
void Engine::StartSampling(const OpenRequest& open) {
  const GenerationRequest& request = open.request;
  std::shared_ptr<const PromptTokens> prompt;
  if (request.params.repetition_penalty != 1.0f) prompt = MakePromptTokens(request.prompt_ids);
  for (const SequenceId id : open.sequences) {
    const auto it = samples_.find(id);
    if (it == samples_.end()) continue;
    SamplingParams params = request.params;
    params.seed = request.seeds[it->second.sample_idx];
    SamplingState& sampling = it->second.sampling.emplace(std::move(params), prompt);
    for (const TokenId token : request.resume_ids) sampling.AddOutput(token);
  }
}

void Engine::SampleAndPublish(const PlannedStep& step, const std::vector<float>& logits) {
  std::vector<int> logit_row(step.plan.chunks.size(), 0);
  int num_rows = 0;
  for (size_t i = 0; i < step.plan.chunks.size(); ++i) {
    logit_row[i] = num_rows;
    if (step.plan.chunks[i].sample) ++num_rows;
  }
  for (const scheduler::Draw& draw : step.draws) {
    const auto it = samples_.find(draw.id);
    if (it == samples_.end()) continue;  // an earlier draw of this step ended its request
    const absl::Span<const float> row(
        logits.data() + static_cast<size_t>(logit_row[draw.chunk_idx]) * options_.vocab_size,
        options_.vocab_size);
    const absl::StatusOr<SampledToken> token =
        sampler_.Sample(row, *it->second.sampling, draw.position);
    if (token.ok()) {
      // Who refuses a token had left while the step ran, if not before.
      PublishToken(draw.id, *token, draw.position, /*num_ended=*/step.plan.step_idx);
    } else {
      SKV_LOG(ERROR) << "sequence " << draw.id << ": " << token.status().ToString();
      scheduler_.Cancel(draw.id);
      FinishSample(draw.id, FinishReason::kError, token.status());
    }
  }
}

void Engine::PublishToken(SequenceId id, const SampledToken& token, int position,
                          int64_t num_ended) {
  Sample& sample = samples_.at(id);
  const TimePoint now = clock_.Now();
  if (!sample.first_token) sample.first_token = now;
  sample.last_token = now;
  sample.sampling->AddOutput(token.token);
  ++sample.num_generated;
  ++totals_.num_generated_tokens;
  const bool stop = IsStop(sample.open->request.params, token.token);
  const RequestId request = sample.request;
  TokenEvent event{.sample_idx = sample.sample_idx,
                   .position = position,
                   .token = token,
                   .timings = {},
                   .num_cached_tokens = sample.open->num_cached_tokens.value_or(0),
                   .explanations = TakeExplanations(id, &sample)};
  if (sample.num_generated == 1) event.timings = MeasureTimings(sample);
  const bool wanted = sample.open->sink->OnToken(event);
  const bool ended = scheduler_.OnToken(id, token.token, stop);
  if (ended) {
    FinishSample(id, stop ? FinishReason::kStop : FinishReason::kLength, absl::OkStatus());
  }
  if (!wanted) CancelRequest(request, num_ended);
}

void Engine::FinishSample(SequenceId id, FinishReason reason, const absl::Status& status) {
  const auto it = samples_.find(id);
  if (it == samples_.end()) return;
  const Sample& sample = it->second;
  OpenRequest* const open = sample.open;
  FinishEvent event{.sample_idx = sample.sample_idx,
                    .reason = reason,
                    .status = status,
                    .num_prompt_tokens = static_cast<int>(open->request.prompt_ids.size()),
                    .num_cached_tokens = open->num_cached_tokens.value_or(0),
                    .num_generated_tokens = sample.num_generated,
                    .timings = MeasureTimings(sample),
                    .kv_use = executor_->kv_use(id),
                    .recall = executor_->recall_counts(id),
                    .policy_fingerprint = policy::Fingerprint(open->request.policy),
                    .explanation = LastExplanation(id, reason)};
  const RequestId request = sample.request;
  open->sink->OnFinish(event);
  samples_.erase(it);
  if (--open->num_live == 0) requests_.erase(request);
}

std::vector<Explanation> Engine::TakeExplanations(SequenceId id, Sample* sample) {
  ReadLog* const log = executor_->read_log(id);
  if (log == nullptr) return {};
  std::vector<Explanation> ended = log->TakeEnded();
  std::erase_if(ended, [&](const Explanation& explanation) {
    return explanation.begin < sample->explained_until;
  });
  if (!ended.empty()) sample->explained_until = ended.back().end;
  return ended;
}

std::optional<Explanation> Engine::LastExplanation(SequenceId id, FinishReason reason) const {
  const ReadLog* const log = executor_->read_log(id);
  if (log == nullptr || (reason != FinishReason::kStop && reason != FinishReason::kLength)) {
    return std::nullopt;
  }
  const Sample& sample = samples_.at(id);
  return log->Unfinished(static_cast<int>(sample.open->request.resume_ids.size()) +
                         sample.num_generated);
}

Timings Engine::MeasureTimings(const Sample& sample) {
  const OpenRequest& open = *sample.open;
  Timings timings;
  if (open.scheduled) timings.queue_seconds = ToSeconds(*open.scheduled - open.submitted);
  if (sample.first_token) {
    timings.prefill_seconds = ToSeconds(*sample.first_token - *open.scheduled);
    timings.time_to_first_token_seconds = ToSeconds(*sample.first_token - open.submitted);
    timings.decode_seconds = ToSeconds(*sample.last_token - *sample.first_token);
  }
  return timings;
}

void Engine::FinishAll(FinishReason reason, const absl::Status& status) {
  std::vector<Command> commands;
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
    commands.swap(commands_);
  }
  for (Command& command : commands) {
    if (command.kind == CommandKind::kSubmit) Open(command.id, std::move(command.request));
  }
  std::vector<SequenceId> live;
  for (const auto& [id, sample] : samples_) live.push_back(id);
  std::sort(live.begin(), live.end());
  for (const SequenceId id : live) {
    scheduler_.Cancel(id);
    FinishSample(id, reason, status);
  }
}

bool Engine::IsStop(const SamplingParams& params, TokenId token) const {
  const auto contains = [token](const std::vector<TokenId>& ids) {
    return std::find(ids.begin(), ids.end(), token) != ids.end();
  };
  return contains(params.stop_token_ids) ||
         (!params.ignore_eos && contains(options_.end_of_generation_ids));
}

void Engine::UpdateStats() {
  totals_.scheduler = scheduler_.stats();
  totals_.num_steps = executor_->num_steps();
  totals_.cancels = cancel_log_.stats();
  totals_.num_open_requests = static_cast<int>(requests_.size());
  totals_.kv_use = executor_->total_kv_use();
  totals_.recall = executor_->total_recall();
  totals_.num_held_tokens = executor_->num_held_tokens();
  totals_.index_bytes = executor_->index_bytes();
  totals_.sketch_bytes = executor_->sketch_bytes();
  totals_.working_set_bytes = executor_->working_set_bytes();
  totals_.step_in_place_bytes = executor_->step_in_place_bytes();
  totals_.working_set_use = executor_->total_working_set_use();
  UpdatePrefixStats();
  MutexLock lock(&mutex_);
  stats_ = totals_;
}

absl::Status RunFollower(RankExecutor* executor, comm::Communicator* communicator) {
  std::vector<float> no_logits;
  while (true) {
    std::string bytes;
    SKV_RETURN_IF_ERROR(communicator->Broadcast(&bytes, kPlanTimeoutMs));
    SKV_ASSIGN_OR_RETURN(const StepPlan plan, scheduler::Decode(bytes));
    if (plan.shutdown) return absl::OkStatus();
    SKV_RETURN_IF_ERROR(executor->Execute(plan, &no_logits));
  }
}

}  // namespace skv::engine
