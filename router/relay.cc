#include "router/relay.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"

namespace skv::router {
namespace {

// All that waited for a group come to it at once, and it may have room for some of them only.
constexpr Duration kRoomInterval = std::chrono::seconds(1);

}  // namespace

// Ties what a group says to the attempt, so that a group that was given up is not heard any more.
class Relay::Handler : public GroupStreamHandler {
 public:
  Handler(std::shared_ptr<Relay> relay, std::shared_ptr<Attempt> attempt)
      : relay_(std::move(relay)), attempt_(std::move(attempt)) {}
  void OnEvent(const GroupEvent& event) override { relay_->OnEvent(attempt_.get(), event); }
  void OnDone(absl::Status status) override { relay_->OnDone(attempt_.get(), std::move(status)); }

 private:
  const std::shared_ptr<Relay> relay_;
  const std::shared_ptr<Attempt> attempt_;
};

std::shared_ptr<Relay> Relay::Create(RelayJob job, Membership* membership, const Clock* clock,
                                     std::shared_ptr<ClientStream> client,
                                     std::function<void(const RelayStats&)> on_end) {
  return std::shared_ptr<Relay>(
      new Relay(std::move(job), membership, clock, std::move(client), std::move(on_end)));
}

Relay::Relay(RelayJob job, Membership* membership, const Clock* clock,
             std::shared_ptr<ClientStream> client, std::function<void(const RelayStats&)> on_end)
    : job_(std::move(job)),
      membership_(membership),
      clock_(clock),
      client_(std::move(client)),
      on_end_(std::move(on_end)),
      samples_(job_.request.seeds.size(),
               SampleStream(job_.model.get(), job_.stops, job_.prompt_text)) {
  stats_.usage.prompt_tokens = static_cast<int64_t>(job_.request.prompt_ids.size());
}

void Relay::Start() {
  Part all;
  all.sample_idxs.resize(job_.request.seeds.size());
  std::iota(all.sample_idxs.begin(), all.sample_idxs.end(), 0);
  TryNextGroup(all);
}

void Relay::TryNextGroup(const Part& part) {
  GroupRequest request;
  absl::StatusOr<std::shared_ptr<Attempt>> picked;
  {
    MutexLock lock(&mutex_);
    if (ended_) return;
    const std::shared_ptr<const Cluster> cluster = membership_->snapshot();
    picked = part.found_no_room ? last_failure_ : PickLocked(*cluster, part, &request);
    if (!picked.ok()) {
      absl::Status status = WaitLocked(*cluster, part, picked.status());
      if (status.ok()) return;
      picked = std::move(status);
    }
  }
  if (!picked.ok()) return End(picked.status());
  Open(*picked, request);
}

absl::Status Relay::WaitLocked(const Cluster& cluster, Part part, const absl::Status& no_group) {
  const bool may_begin = job_.migration_wait > Duration::zero() && !part.wait.has_value() &&
                         MayRecover(cluster, part, NeedsLocked());
  if (!may_begin && !part.found_no_room) return no_group;
  const TimePoint now = clock_->Now();
  if (may_begin) {
    const Duration left = job_.deadline - std::chrono::system_clock::now();
    part.wait = {.until = now + std::min(left, job_.migration_wait),
                 .is_deadline = left <= job_.migration_wait};
  }
  const TimePoint until = part.wait->until;
  const TimePoint again = may_begin ? TimePoint::max() : now + kRoomInterval;
  const std::optional<uint64_t> id = membership_->WaitForGroup(
      cluster, until,
      [self = shared_from_this(), part = std::move(part)](uint64_t wait_id, bool time_is_over) {
        self->OnWake(part, wait_id, time_is_over);
      },
      again);
  if (!id.has_value()) {
    stats_.waits.Add(WaitOutcome::kRefused);
    return absl::Status(no_group.code(),
                        absl::StrCat(no_group.message(), "; ", membership_->max_waiting(),
                                     " streams wait for one, as many as --max-waiting-streams"));
  }
  waits_.push_back(*id);
  if (may_begin) {
    SKV_LOG(INFO) << "request " << job_.request.request_id
                  << " waits for a worker group: " << no_group.message();
  }
  return absl::OkStatus();
}

void Relay::OnWake(const Part& part, uint64_t wait_id, bool time_is_over) {
  GroupRequest request;
  absl::StatusOr<std::shared_ptr<Attempt>> picked;
  {
    MutexLock lock(&mutex_);
    if (ended_) return;
    picked = PickLocked(*membership_->snapshot(), part, &request);
    if (!picked.ok() && !time_is_over) return;
    membership_->StopWaiting(wait_id);
    std::erase(waits_, wait_id);
    stats_.waits.Add(picked.ok() ? WaitOutcome::kResumed : WaitOutcome::kExpired);
  }
  if (picked.ok()) return Open(*picked, request);
  const absl::string_view why = picked.status().message();
  if (part.wait->is_deadline) {
    return End(absl::DeadlineExceededError(
        absl::StrCat(why, "; none came back before the deadline of the request")));
  }
  End(absl::Status(picked.status().code(),
                   absl::StrCat(why, "; none came back within --migration-wait-ms ",
                                ToSeconds(job_.migration_wait) * 1000)));
}

void Relay::Open(const std::shared_ptr<Attempt>& attempt, const GroupRequest& request) {
  Group& group = attempt->group();
  const uint64_t watch_id = group.Watch(
      [weak = weak_from_this(), weak_attempt = std::weak_ptr(attempt)](const absl::Status& lost) {
        const auto relay = weak.lock();
        const auto stalled = weak_attempt.lock();
        if (relay != nullptr && stalled != nullptr) relay->OnStall(stalled.get(), lost);
      });
  std::shared_ptr<GroupStream> stream = group.client().Generate(
      request, job_.deadline, std::make_shared<Handler>(shared_from_this(), attempt));
  {
    MutexLock lock(&mutex_);
    if (!attempt->released()) return attempt->SetStream(std::move(stream), watch_id);
  }
  // The attempt ended while it was being started.
  group.Unwatch(watch_id);
  stream->Cancel();
}

absl::StatusOr<std::shared_ptr<Attempt>> Relay::PickLocked(const Cluster& cluster, Part part,
                                                           GroupRequest* request) {
  const absl::StatusOr<ClusterModel> model = cluster.FindModel(job_.model->name());
  if (!model.ok()) return last_failure_.ok() ? model.status() : NoGroupLocked(cluster);
  const std::optional<PickResult> picked =
      ChooseGroup(cluster, *model->picker, part, NeedsLocked());
  if (!picked.has_value()) return NoGroupLocked(cluster);
  const ClusterGroup& entry = cluster.groups.at(picked->group_id);
  if (!numerics_id_.has_value()) stats_.expected_cached_tokens = picked->cached_tokens;
  if (part.num_migrations > 0 && !part.found_no_room) NoteMigrationLocked(part, *entry.group);
  *request = MakeRequestLocked(part);
  part.tried.push_back({picked->group_id, entry.epoch, entry.num_outages});
  return attempts_.emplace_back(std::make_shared<Attempt>(std::move(part), *request, entry, *picked,
                                                          membership_->prefixes().get(),
                                                          &job_.prompt_prefix));
}

GroupNeeds Relay::NeedsLocked() const {
  return {.fingerprint = job_.model->fingerprint(),
          .numerics_id = numerics_id_,
          .last_failure = last_failure_,
          .sequence = job_.sequence,
          .num_prompt_tokens = stats_.usage.prompt_tokens,
          .prompt = &job_.prompt_prefix};
}

absl::Status Relay::NoGroupLocked(const Cluster& cluster) const {
  if (last_failure_.ok()) return cluster.DownStatus();
  const std::string why = absl::StrCat(last_failure_.message(), "; no other healthy worker group");
  if (!numerics_id_.has_value()) return absl::Status(last_failure_.code(), why);
  return absl::UnavailableError(
      absl::StrCat(why, " of numerics_id ", Sv(*numerics_id_),
                   ", which alone would go on with the tokens that were sent"));
}

// A sample that moves may meet another one of its request on a worker, and what comes back to a
// process that only hung meets itself: all ids differ.
GroupRequest Relay::MakeRequestLocked(const Part& part) {
  GroupRequest request = job_.request;
  if (stats_.num_retries > 0) absl::StrAppend(&request.request_id, "-r", stats_.num_retries);
  if (part.num_migrations == 0) return request;
  const int32_t sample_idx = part.sample_idxs.front();
  absl::StrAppend(&request.request_id, "-", sample_idx, "-", part.num_migrations);
  request.seeds = {job_.request.seeds[sample_idx]};
  request.resume_ids = samples_[sample_idx].Resume();
  return request;
}

void Relay::NoteMigrationLocked(const Part& part, const Group& group) {
  stats_.migrations.Add(part.reason);
  const int32_t sample_idx = part.sample_idxs.front();
  SKV_LOG(INFO) << "request " << job_.request.request_id << ": sample " << sample_idx
                << " goes on with worker group " << group.address() << " after "
                << samples_[sample_idx].num_tokens() << " tokens (" << ToString(part.reason)
                << "): " << last_failure_.message();
}

void Relay::OnEvent(Attempt* attempt, const GroupEvent& group_event) {
  Event event;
  absl::Status status;
  bool stop_sample = false;
  std::shared_ptr<GroupStream> to_cancel;
  {
    MutexLock lock(&mutex_);
    if (ended_ || attempt->released()) return;
    status = ApplyLocked(attempt, group_event, &event);
    if (status.ok() && event.finish.has_value()) {
      const bool last = AllFinishedLocked(attempt->part());
      if (last) to_cancel = ReleaseLocked(attempt);
      stop_sample = !last && samples_[event.sample_idx].stopped_here();
      if (std::ranges::all_of(samples_, &SampleStream::finished)) CompleteLocked(&event);
    }
    if (status.ok() && !event.IsEmpty()) outbox_.push_back(std::move(event));
  }
  if (to_cancel != nullptr) to_cancel->Cancel();
  if (stop_sample) {
    attempt->group().client().CancelSamples(attempt->request_id(), {group_event.sample_idx});
  }
  if (!status.ok()) return End(status);
  WriteOut();
}

void Relay::WriteOut() {
  while (true) {
    Event event;
    {
      MutexLock lock(&mutex_);
      if (ended_ || writing_ || outbox_.empty()) return;
      writing_ = true;
      event = std::move(outbox_.front());
      outbox_.pop_front();
    }
    const bool last = event.usage.has_value();
    const bool taken = client_->Write(std::move(event));
    // After a refusal nobody writes any more: the client would see a gap.
    if (!taken) {
      return End(absl::CancelledError("the client reads too slowly: its buffer is full"));
    }
    if (last) return End(absl::OkStatus());
    MutexLock lock(&mutex_);
    writing_ = false;
  }
}

absl::Status Relay::ApplyLocked(Attempt* attempt, const GroupEvent& group_event, Event* event) {
  const Group& group = attempt->group();
  attempt->group().MarkHeard(clock_->Now());
  const std::vector<int32_t>& sample_idxs = attempt->part().sample_idxs;
  if (group_event.sample_idx < 0 || group_event.sample_idx >= std::ssize(sample_idxs)) {
    return absl::InternalError(absl::StrCat(group.address(), ": sent sample ",
                                            group_event.sample_idx, ", expected 0 to ",
                                            sample_idxs.size() - 1));
  }
  event->request_id = job_.client_request_id;
  event->sample_idx = sample_idxs[group_event.sample_idx];
  SampleStream& sample = samples_[event->sample_idx];
  if (sample.num_tokens() == 0) event->numerics_id = attempt->numerics_id();
  SKV_RETURN_IF_ERROR(Annotate(sample.Apply(group_event, event), group.address()));
  if (group_event.cached_tokens.has_value() && !std::exchange(cached_tokens_known_, true)) {
    stats_.usage.cached_tokens = *group_event.cached_tokens;
  }
  if (!worker_timings_.has_value()) worker_timings_ = group_event.timings;
  attempt->OnTokens(std::ssize(group_event.tokens));
  NoteTokensLocked(std::ssize(event->tokens), *attempt);
  return absl::OkStatus();
}

void Relay::NoteTokensLocked(int64_t num_tokens, const Attempt& attempt) {
  if (num_tokens == 0) return;
  last_token_ = clock_->Now();
  if (!numerics_id_.has_value()) {
    numerics_id_ = attempt.numerics_id();
    first_token_ = last_token_;
    stats_.ttft_seconds = ToSeconds(first_token_ - job_.arrival);
  }
  stats_.usage.completion_tokens += num_tokens;
}

void Relay::CompleteLocked(Event* event) {
  const double total_seconds = ToSeconds(clock_->Now() - job_.arrival);
  event->usage = stats_.usage;
  event->timings = Timings{.worker = worker_timings_.value_or(WorkerTimings{}),
                           .decode_ms = ToSeconds(last_token_ - first_token_) * 1000,
                           .ttft_ms = std::max(0.0, stats_.ttft_seconds) * 1000,
                           .total_ms = total_seconds * 1000,
                           .num_retries = stats_.num_retries,
                           .num_migrations = stats_.migrations.total()};
}

bool Relay::AllFinishedLocked(const Part& part) const {
  return std::ranges::all_of(part.sample_idxs, [this](int32_t sample_idx) SKV_REQUIRES(mutex_) {
    return samples_[sample_idx].finished();
  });
}

void Relay::OnDone(Attempt* attempt, absl::Status status) {
  if (status.ok()) status = absl::UnavailableError("ended its stream before the last sample");
  // Nobody here cancelled: the worker's server was shut down under the call.
  if (absl::IsCancelled(status)) status = absl::UnavailableError(status.message());
  const bool refused = absl::IsResourceExhausted(status);
  Fail(attempt, std::move(status), refused ? MigrationReason::kRefused : MigrationReason::kLost);
}

void Relay::OnStall(Attempt* attempt, const absl::Status& status) {
  Fail(attempt, status, MigrationReason::kStalled);
}

bool Relay::IsDrainingLocked(const Group& group) const {
  const std::shared_ptr<const Cluster> cluster = membership_->snapshot();
  const auto it = cluster->groups.find(group.id());
  return it != cluster->groups.end() && it->second.draining;
}

void Relay::Fail(Attempt* attempt, absl::Status status, MigrationReason reason) {
  std::shared_ptr<GroupStream> stream;
  std::vector<Part> parts;
  {
    MutexLock lock(&mutex_);
    if (ended_ || attempt->released()) return;
    if (absl::IsUnavailable(status)) membership_->ReportLost(attempt->group().id(), status);
    if (reason == MigrationReason::kLost && IsDrainingLocked(attempt->group())) {
      reason = MigrationReason::kDrained;
    }
    status = Annotate(status, absl::StrCat("worker group ", attempt->group().address()));
    parts = NextPartsLocked(*attempt, status, reason);
    if (!parts.empty()) {
      last_failure_ = status;
      stream = ReleaseLocked(attempt);
    }
  }
  if (parts.empty()) return End(status);
  if (stream != nullptr) stream->Cancel();
  for (const Part& part : parts) TryNextGroup(part);
}

std::vector<Part> Relay::NextPartsLocked(const Attempt& attempt, const absl::Status& status,
                                         MigrationReason reason) {
  const bool no_room = absl::IsResourceExhausted(status) && !attempt.answered();
  if (!absl::IsUnavailable(status) && !absl::IsAborted(status) && !no_room) return {};
  Part part = attempt.part();
  part.found_no_room = no_room && part.wait.has_value() && clock_->Now() < part.wait->until;
  if (part.found_no_room) {
    part.tried.pop_back();  // the group may have room later
    return {part};
  }
  if (!numerics_id_.has_value()) {
    if (stats_.num_retries >= job_.max_retries) return {};
    ++stats_.num_retries;
    return {part};
  }
  if (part.num_migrations >= job_.max_migrations) return {};
  std::vector<Part> parts;
  for (const int32_t sample_idx : part.sample_idxs) {
    if (samples_[sample_idx].finished()) continue;
    parts.push_back({.sample_idxs = {sample_idx},
                     .tried = part.tried,
                     .num_migrations = part.num_migrations + 1,
                     .reason = reason,
                     .wait = no_room ? part.wait : std::nullopt});
  }
  return parts;
}

std::shared_ptr<GroupStream> Relay::ReleaseLocked(Attempt* attempt) {
  std::shared_ptr<GroupStream> stream = attempt->Release();
  // A group that finished every sample by itself ends its stream by itself, too.
  const auto ended_there = [this](int32_t sample_idx) SKV_REQUIRES(mutex_) {
    return samples_[sample_idx].finished() && !samples_[sample_idx].stopped_here();
  };
  if (std::ranges::all_of(attempt->part().sample_idxs, ended_there)) stream = nullptr;
  std::erase_if(attempts_, [attempt](const auto& held) { return held.get() == attempt; });
  return stream;
}

void Relay::End(absl::Status status) {
  std::vector<std::shared_ptr<GroupStream>> streams;
  RelayStats stats;
  ConcurrencyLimiter::Ticket ticket;
  {
    MutexLock lock(&mutex_);
    if (ended_) return;
    ended_ = true;
    while (!attempts_.empty()) streams.push_back(ReleaseLocked(attempts_.back().get()));
    for (const uint64_t wait_id : waits_) {
      membership_->StopWaiting(wait_id);
      stats_.waits.Add(WaitOutcome::kEnded);
    }
    stats_.code = status.code();
    stats_.total_seconds = ToSeconds(clock_->Now() - job_.arrival);
    stats = stats_;
    ticket = std::move(job_.ticket);
  }
  for (const auto& stream : streams) {
    if (stream != nullptr) stream->Cancel();
  }
  // The client's end or the ticket's return may be what the router's own end waits for: after both,
  // nothing that belongs to the router may be touched.
  on_end_(stats);
  client_->Finish(std::move(status));
}

}  // namespace skv::router
