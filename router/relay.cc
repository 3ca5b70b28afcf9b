#include "router/relay.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::router {

// Ties the events of one attempt to it, so that a group that was given up is not heard any more.
class Relay::Attempt : public GroupStreamHandler {
 public:
  Attempt(std::shared_ptr<Relay> relay, int attempt_idx)
      : relay_(std::move(relay)), attempt_idx_(attempt_idx) {}
  void OnEvent(const GroupEvent& event) override { relay_->OnEvent(attempt_idx_, event); }
  void OnDone(absl::Status status) override { relay_->OnDone(attempt_idx_, std::move(status)); }

 private:
  const std::shared_ptr<Relay> relay_;
  const int attempt_idx_;
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

void Relay::TryNextGroup() {
  std::shared_ptr<Group> group;
  int attempt_idx = 0;
  absl::Status picked;
  {
    MutexLock lock(&mutex_);
    if (ended_) return;
    picked = PickLocked(*membership_->snapshot());
    attempt_idx = attempt_idx_;
    group = hold_.group;
  }
  if (!picked.ok()) return End(picked);
  const uint64_t watch_id =
      group->Watch([weak = weak_from_this(), attempt_idx](const absl::Status& lost) {
        if (const auto relay = weak.lock()) relay->Fail(attempt_idx, lost);
      });
  std::shared_ptr<GroupStream> stream = group->client().Generate(
      job_.request, job_.deadline, std::make_shared<Attempt>(shared_from_this(), attempt_idx));
  {
    MutexLock lock(&mutex_);
    if (!ended_ && attempt_idx_ == attempt_idx) {
      hold_.stream = std::move(stream);
      hold_.watch_id = watch_id;
      return;
    }
  }
  // The attempt ended while it was being started.
  group->Unwatch(watch_id);
  stream->Cancel();
}

absl::Status Relay::PickLocked(const Cluster& cluster) {
  SKV_ASSIGN_OR_RETURN(const ClusterModel model, cluster.FindModel(job_.model->name()));
  const std::optional<PickResult> picked =
      model.picker->Pick({.excluded = tried_,
                          .sequence = job_.sequence,
                          .num_prompt_tokens = stats_.usage.prompt_tokens,
                          .prompt = &job_.prompt_prefix});
  if (!picked.has_value()) {
    return last_failure_.ok() ? cluster.DownStatus()
                              : absl::Status(last_failure_.code(),
                                             absl::StrCat(last_failure_.message(),
                                                          "; no other healthy worker group"));
  }
  const ClusterGroup& entry = cluster.groups.at(picked->group_id);
  tried_.push_back(picked->group_id);
  stats_.expected_cached_tokens = picked->cached_tokens;
  hold_ = {.group = entry.group,
           .charged_tokens = job_.request.NumTokens() - picked->cached_tokens,
           .cache_id = entry.cache_id,
           .numerics_id = entry.numerics_id};
  hold_.group->outstanding()->fetch_add(hold_.charged_tokens);
  PromisePrefixLocked();
  return absl::OkStatus();
}

void Relay::OnEvent(int attempt_idx, const GroupEvent& group_event) {
  Event event;
  absl::Status status;
  bool complete = false;
  std::shared_ptr<Group> stop_at;
  {
    MutexLock lock(&mutex_);
    if (ended_ || attempt_idx != attempt_idx_) return;
    status = ApplyLocked(group_event, &event);
    complete = std::ranges::all_of(samples_, &SampleStream::finished);
    if (status.ok() && complete) CompleteLocked(&event);
    if (status.ok() && !complete && event.finish.has_value() &&
        samples_[group_event.sample_idx].stopped_here()) {
      stop_at = hold_.group;
    }
  }
  if (!status.ok()) return End(status);
  if (stop_at != nullptr) {
    stop_at->client().CancelSamples(job_.request.request_id, {group_event.sample_idx});
  }
  const bool nothing_new = event.tokens.empty() && event.text.empty() && !event.finish.has_value();
  if (!nothing_new && !client_->Write(std::move(event))) {
    return End(absl::CancelledError("the client reads too slowly: its buffer is full"));
  }
  if (complete) End(absl::OkStatus());
}

absl::Status Relay::ApplyLocked(const GroupEvent& group_event, Event* event) {
  hold_.group->MarkHeard(clock_->Now());
  const int32_t sample_idx = group_event.sample_idx;
  if (sample_idx < 0 || sample_idx >= static_cast<int32_t>(samples_.size())) {
    return absl::InternalError(absl::StrCat(hold_.group->address(), ": sent sample ", sample_idx,
                                            ", expected 0 to ", samples_.size() - 1));
  }
  SampleStream& sample = samples_[sample_idx];
  event->request_id = job_.client_request_id;
  event->sample_idx = sample_idx;
  if (sample.num_tokens() == 0) event->numerics_id = hold_.numerics_id;
  SKV_RETURN_IF_ERROR(Annotate(sample.Apply(group_event, event), hold_.group->address()));
  if (group_event.cached_tokens.has_value()) {
    stats_.usage.cached_tokens = *group_event.cached_tokens;
  }
  if (!worker_timings_.has_value()) worker_timings_ = group_event.timings;
  const int64_t num_tokens = static_cast<int64_t>(event->tokens.size());
  if (num_tokens > 0) last_token_ = clock_->Now();
  if (num_tokens > 0 && stats_.ttft_seconds < 0) {
    first_token_ = last_token_;
    stats_.ttft_seconds = ToSeconds(first_token_ - job_.arrival);
    UnchargeLocked(stats_.usage.prompt_tokens - stats_.expected_cached_tokens);
    PromisePrefixLocked();
  }
  stats_.usage.completion_tokens += num_tokens;
  UnchargeLocked(num_tokens);
  return absl::OkStatus();
}

void Relay::CompleteLocked(Event* event) {
  const double total_seconds = ToSeconds(clock_->Now() - job_.arrival);
  event->usage = stats_.usage;
  event->timings = Timings{.worker = worker_timings_.value_or(WorkerTimings{}),
                           .decode_ms = ToSeconds(last_token_ - first_token_) * 1000,
                           .ttft_ms = std::max(0.0, stats_.ttft_seconds) * 1000,
                           .total_ms = total_seconds * 1000,
                           .num_retries = attempt_idx_};
}

void Relay::OnDone(int attempt_idx, absl::Status status) {
  if (status.ok()) status = absl::UnavailableError("ended its stream before the last sample");
  // Nobody here cancelled: the worker's server was shut down under the call.
  if (absl::IsCancelled(status)) status = absl::UnavailableError(status.message());
  Fail(attempt_idx, std::move(status));
}

void Relay::Fail(int attempt_idx, absl::Status status) {
  std::shared_ptr<GroupStream> stream;
  bool retry = false;
  {
    MutexLock lock(&mutex_);
    if (ended_ || attempt_idx != attempt_idx_) return;
    if (absl::IsUnavailable(status)) membership_->ReportLost(hold_.group->id(), status);
    status = Annotate(status, absl::StrCat("worker group ", hold_.group->address()));
    retry = ShouldRetryLocked(status);
    if (retry) {
      last_failure_ = status;
      ++attempt_idx_;  // what this attempt still says is not heard
      stream = ReleaseLocked();
    }
  }
  if (!retry) return End(status);
  if (stream != nullptr) stream->Cancel();
  TryNextGroup();
}

bool Relay::ShouldRetryLocked(const absl::Status& status) const {
  const bool elsewhere_may_do =
      absl::IsUnavailable(status) || absl::IsAborted(status) || absl::IsResourceExhausted(status);
  return elsewhere_may_do && stats_.ttft_seconds < 0 && attempt_idx_ < job_.max_retries;
}

void Relay::End(absl::Status status) {
  std::shared_ptr<GroupStream> stream;
  RelayStats stats;
  ConcurrencyLimiter::Ticket ticket;
  {
    MutexLock lock(&mutex_);
    if (ended_) return;
    ended_ = true;
    stream = ReleaseLocked();
    stats_.code = status.code();
    stats_.total_seconds = ToSeconds(clock_->Now() - job_.arrival);
    stats_.num_retries = attempt_idx_;
    stats = stats_;
    ticket = std::move(job_.ticket);
    // A group that finished every sample by itself ends its stream by itself, too.
    const bool ended_there =
        status.ok() && std::ranges::none_of(samples_, &SampleStream::stopped_here);
    if (ended_there) stream = nullptr;
  }
  if (stream != nullptr) stream->Cancel();
  // The client's end or the ticket's return may be what the router's own end waits for: after both,
  // nothing that belongs to the router may be touched.
  on_end_(stats);
  client_->Finish(std::move(status));
}

// Already when the request is sent, so that another one of the same prefix follows it there and
// waits for it, and again when the prompt is computed, since others may have withdrawn it.
void Relay::PromisePrefixLocked() {
  if (membership_->prefixes() == nullptr) return;
  membership_->prefixes()->AddPrompt(hold_.cache_id, job_.prompt_prefix);
}

void Relay::WithdrawPrefixLocked() {
  if (membership_->prefixes() == nullptr) return;
  membership_->prefixes()->RemovePrompt(hold_.cache_id, job_.prompt_prefix,
                                        stats_.expected_cached_tokens);
}

void Relay::UnchargeLocked(int64_t num_tokens) {
  num_tokens = std::min(num_tokens, hold_.charged_tokens);
  hold_.charged_tokens -= num_tokens;
  hold_.group->outstanding()->fetch_sub(num_tokens);
}

std::shared_ptr<GroupStream> Relay::ReleaseLocked() {
  if (hold_.group == nullptr) return nullptr;
  UnchargeLocked(hold_.charged_tokens);
  if (stats_.ttft_seconds < 0) WithdrawPrefixLocked();
  hold_.group->Unwatch(hold_.watch_id);
  std::shared_ptr<GroupStream> stream = std::move(hold_.stream);
  hold_ = {};
  return stream;
}

}  // namespace skv::router
