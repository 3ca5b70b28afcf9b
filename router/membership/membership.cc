#include "router/membership/membership.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"

namespace skv::router {

namespace {

// Stalls and due probes are seen this much late at most.
Duration TickPeriod(const MembershipOptions& options) { return options.probe_interval / 4; }

}  // namespace

Duration LossDetectionTime(const MembershipOptions& options) {
  return options.stall_timeout + options.probe_interval + TickPeriod(options);
}

absl::Status ValidateMembershipOptions(const MembershipOptions& options) {
  if (2 * options.probe_interval <= options.stall_timeout) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--health-check-interval-secs: got ", ToSeconds(options.probe_interval),
      ", expected at most half of --stall-timeout-secs, which is ",
      ToSeconds(options.stall_timeout), ": an idle group lives by the probes that it answers"));
}

struct Membership::Member {
  std::shared_ptr<Group> group;
  std::shared_ptr<const ServedModel> served;  // null until fetched, and after a restart
  std::string numerics_id;
  LoadReport load;
  int64_t outstanding_at_report = 0;
  CacheId cache_id = kNoCache;
  uint64_t cache_epoch = 0;  // in which `cache_id` was its own
  absl::Status health = absl::UnavailableError("not probed yet");
  uint64_t num_outages = 0;
  uint64_t epoch = 0;  // that of `served`
  bool probing = false;
  bool fetching = false;
  // A passive failure outranks the result of a probe that was under way when it came.
  bool discard_probe = false;
  // No longer listed: gets nothing new, but is probed for the sake of its streams until they end.
  bool leaving = false;
  TimePoint next_probe{};
};

// What groups of one model name have to agree on.
struct Membership::ModelIdentity {
  std::string_view name;
  std::string_view fingerprint;
  const KvPolicyOffer& kv_policies;
  // May differ: then each has a ServedModel of its own.
  const std::optional<PrefixNaming>& prefix_naming;
};

// Outlives the membership in the hands of callbacks.
struct Membership::Inbox {
  Mutex mutex;
  CondVar changed;
  bool stopped SKV_GUARDED_BY(mutex) = false;
  bool has_new_waiter SKV_GUARDED_BY(mutex) = false;
  std::vector<std::pair<GroupId, std::function<void(Member*)>>> messages SKV_GUARDED_BY(mutex);
};

Membership::Membership(MembershipOptions options, std::unique_ptr<WorkerSource> source,
                       GroupClientFactory client_factory, PickerFactory picker_factory,
                       const Clock* clock, std::shared_ptr<PrefixIndex> prefixes)
    : options_(options),
      source_(std::move(source)),
      client_factory_(std::move(client_factory)),
      picker_factory_(std::move(picker_factory)),
      clock_(clock),
      prefixes_(std::move(prefixes)),
      inbox_(std::make_shared<Inbox>()),
      waiters_(options.max_waiting_streams),
      snapshot_(std::make_shared<Cluster>()) {}

Membership::~Membership() {
  {
    MutexLock lock(&inbox_->mutex);
    inbox_->stopped = true;
    inbox_->messages.clear();
    inbox_->changed.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void Membership::Start() {
  SKV_CHECK(!thread_.joinable());
  thread_ = std::thread([this] { Run(); });
}

void Membership::Run() {
  const Duration period = TickPeriod(options_);
  while (true) {
    const bool waiters_are_left = Tick();
    const TimePoint now = clock_->Now();
    const TimePoint next = waiters_are_left ? now : std::min(now + period, waiters_.next_call());
    MutexLock lock(&inbox_->mutex);
    inbox_->changed.WaitUntil(&inbox_->mutex, next, [this] {
      return inbox_->stopped || inbox_->has_new_waiter || !inbox_->messages.empty();
    });
    if (inbox_->stopped) return;
    inbox_->has_new_waiter = false;
  }
}

std::shared_ptr<const Cluster> Membership::snapshot() const {
  MutexLock lock(&snapshot_mutex_);
  return snapshot_;
}

void Membership::SetListener(std::function<void(const Cluster&)> listener) {
  MutexLock lock(&listener_mutex_);
  listener_ = std::move(listener);
  if (listener_ != nullptr) listener_(*snapshot());
}

std::function<void(std::function<void(Membership::Member*)>)> Membership::Poster(GroupId group_id) {
  return [inbox = inbox_, group_id](std::function<void(Member*)> act) {
    MutexLock lock(&inbox->mutex);
    if (inbox->stopped) return;
    inbox->messages.emplace_back(group_id, std::move(act));
    inbox->changed.NotifyAll();
  };
}

void Membership::ReportLost(GroupId group_id, absl::Status status) {
  Poster(group_id)([this, status = std::move(status)](Member* member) {
    member->discard_probe = member->probing;
    SetHealth(member, status);
  });
}

std::optional<uint64_t> Membership::WaitForGroup(const Cluster& seen, TimePoint until,
                                                 GroupWaiters::Waiter waiter, TimePoint again) {
  const std::optional<uint64_t> id =
      waiters_.Enter(seen.num_recoveries, until, std::move(waiter), again);
  if (!id.has_value()) return std::nullopt;
  // The thread may sleep beyond `until`, or have called the others for what is later than `seen`.
  MutexLock lock(&inbox_->mutex);
  inbox_->has_new_waiter = true;
  inbox_->changed.NotifyAll();
  return id;
}

bool Membership::Tick() {
  const TimePoint now = clock_->Now();
  // While this process itself was away (suspended, starved), nobody's silence means anything.
  if (now - std::exchange(last_tick_, now) > options_.stall_timeout / 2) {
    for (const auto& [id, member] : members_) member->group->MarkHeard(now);
  }
  if (now >= next_refresh_) {
    RefreshMembers();
    next_refresh_ = now + options_.probe_interval;
  }
  decltype(inbox_->messages) messages;
  {
    MutexLock lock(&inbox_->mutex);
    messages.swap(inbox_->messages);
  }
  for (const auto& [group_id, act] : messages) {
    if (const auto it = members_.find(group_id); it != members_.end()) act(it->second.get());
  }
  for (const auto& [id, member] : members_) {
    CheckStall(member.get());
    if (!member->probing && now >= member->next_probe) StartProbe(member.get());
  }
  Publish();
  return waiters_.Wake(num_recoveries_, now);
}

void Membership::RefreshMembers() {
  const absl::StatusOr<std::vector<std::string>> listed = source_->List();
  if (!listed.ok()) {
    SKV_LOG_EVERY_SECONDS(WARNING, 10) << "worker list unchanged: " << listed.status().message();
    return;
  }
  std::set<std::string> missing(listed->begin(), listed->end());
  std::erase_if(members_, [&](const auto& entry) {
    Member& member = *entry.second;
    const std::string& address = member.group->address();
    const bool was_leaving = std::exchange(member.leaving, missing.erase(address) == 0);
    // Not at once: a relay may be about to use the snapshot in which it was still picked.
    if (was_leaving && member.leaving) return !member.group->InUse();
    if (member.leaving) {
      SKV_LOG(INFO) << "worker group " << address << " left the list; its streams go on";
    } else if (was_leaving) {
      // Its model is to be compared again.
      SetHealth(&member, absl::UnavailableError("back on the worker list, not probed yet"));
      member.next_probe = {};
    }
    return false;
  });
  for (const std::string& address : missing) {
    const GroupId id = next_group_id_++;
    auto member = std::make_unique<Member>();
    member->group = std::make_shared<Group>(id, address, client_factory_(address), clock_->Now());
    members_.emplace(id, std::move(member));
  }
}

void Membership::StartProbe(Member* member) {
  member->probing = true;
  member->next_probe = clock_->Now() + options_.probe_interval;
  member->group->client().Probe(options_.probe_timeout, [this, post = Poster(member->group->id())](
                                                            absl::StatusOr<ProbeResult> result) {
    post([this, result = std::move(result)](Member* m) { OnProbe(m, result); });
  });
}

void Membership::StartFetch(Member* member) {
  member->fetching = true;
  member->group->client().FetchModelInfo(
      options_.model_info_timeout,
      [this, post = Poster(member->group->id())](absl::StatusOr<ModelInfo> info) {
        // std::function copies what it holds; the vocabulary is too large for that.
        auto shared = std::make_shared<absl::StatusOr<ModelInfo>>(std::move(info));
        post([this, shared](Member* m) { OnModelInfo(m, std::move(*shared)); });
      });
}

void Membership::OnProbe(Member* member, const absl::StatusOr<ProbeResult>& result) {
  member->probing = false;
  if (std::exchange(member->discard_probe, false)) return;
  if (!result.ok()) {
    // A busy machine may answer late; CheckStall takes the group out when it stays silent.
    if (member->health.ok() && absl::IsDeadlineExceeded(result.status())) return;
    return SetHealth(member, result.status());
  }
  member->group->MarkHeard(clock_->Now());
  NoteCache(member, result->load);
  member->load = result->load;
  member->outstanding_at_report = member->group->outstanding()->load();
  if (member->served != nullptr && member->epoch != result->load.epoch) {
    member->served = nullptr;
    SetHealth(member, absl::UnavailableError("restarted: its model is not known yet"));
  }
  if (result->load.draining) return SetHealth(member, absl::UnavailableError("draining"));
  if (!result->serving) {
    return SetHealth(member, absl::UnavailableError("its health check says NOT_SERVING"));
  }
  if (member->served == nullptr) {
    if (!member->fetching) StartFetch(member);
    return;
  }
  if (result->load.step_age > options_.stall_timeout) return;
  // While it was out, a group with another model of that name may have taken its place.
  absl::Status agrees;
  if (!member->health.ok()) {
    const ServedModel& served = *member->served;
    agrees = FindAgreed(*member, {served.name(), served.fingerprint(), served.limits().kv_policies,
                                  served.prefix_naming()})
                 .status();
  }
  if (!agrees.ok()) LogKeptOut(*member, agrees);
  SetHealth(member, agrees);
}

void Membership::OnModelInfo(Member* member, absl::StatusOr<ModelInfo> info) {
  member->fetching = false;
  absl::Status status = info.status();
  if (status.ok()) status = AdoptModel(member, *std::move(info));
  if (!status.ok()) LogKeptOut(*member, status);
  SetHealth(member, status);
}

void Membership::LogKeptOut(const Member& member, const absl::Status& status) {
  SKV_LOG_EVERY_SECONDS(ERROR, 10)
      << "worker group " << member.group->address() << " kept out: " << status.message();
}

// Only groups that can be picked have a say: one that is gone for good must not keep others out.
absl::StatusOr<std::shared_ptr<const ServedModel>> Membership::FindAgreed(
    const Member& member, const ModelIdentity& model) const {
  std::shared_ptr<const ServedModel> agreed;
  for (const auto& [id, other] : members_) {
    if (other.get() == &member || other->served == nullptr || other->leaving) continue;
    if (other->served->name() != model.name) continue;
    const bool same_model = other->served->fingerprint() == model.fingerprint;
    const bool same_policies = other->served->limits().kv_policies == model.kv_policies;
    if (same_model && same_policies) {
      if (other->served->prefix_naming() == model.prefix_naming) agreed = other->served;
    } else if (other->health.ok()) {
      const std::string ours =
          absl::StrCat(member.group->address(), " serves model \"", Sv(model.name));
      return absl::FailedPreconditionError(
          same_model
              ? absl::StrCat(ours, "\" with ", Describe(model.kv_policies), ", but ",
                             other->group->address(), " with ",
                             Describe(other->served->limits().kv_policies),
                             ": start both with the same --kv-policy, --max-capacity-prompts, "
                             "--semantic-factor and --allowed-kv-policies")
              : absl::StrCat(ours, "\" with fingerprint ", Sv(model.fingerprint), ", but ",
                             other->group->address(), " serves it with ",
                             other->served->fingerprint(),
                             ": start both with the same model file"));
    }
  }
  return agreed;
}

absl::Status Membership::AdoptModel(Member* member, ModelInfo info) {
  SKV_ASSIGN_OR_RETURN(
      std::shared_ptr<const ServedModel> served,
      FindAgreed(*member, {info.name, info.fingerprint, info.kv_policies, info.prefix_naming}));
  member->numerics_id = info.numerics_id;
  if (served == nullptr) {
    SKV_ASSIGN_OR_RETURN(served, ServedModel::Create(std::move(info)));
  }
  member->served = std::move(served);
  member->epoch = member->load.epoch;
  SKV_LOG(INFO) << "worker group " << member->group->address() << " serves "
                << member->served->name();
  return absl::OkStatus();
}

// A store that several groups report is one cache for as long as one of them reports it; that of a
// single group ends with its process.
void Membership::NoteCache(Member* member, const LoadReport& load) {
  const bool shared = !load.store_id.empty();
  const bool same =
      member->load.store_id == load.store_id && (shared || member->cache_epoch == load.epoch);
  if (member->cache_id != kNoCache && same) return;
  member->cache_id = kNoCache;
  member->cache_epoch = load.epoch;
  for (const auto& [id, other] : members_) {
    if (shared && other->load.store_id == load.store_id) member->cache_id = other->cache_id;
  }
  if (member->cache_id == kNoCache) member->cache_id = next_cache_id_++;
}

void Membership::CheckStall(Member* member) {
  const Duration silence = clock_->Now() - member->group->last_heard();
  if (silence <= options_.stall_timeout && member->load.step_age <= options_.stall_timeout) return;
  const absl::Status lost = absl::UnavailableError(
      silence > options_.stall_timeout
          ? absl::StrCat("no sign of life for ", ToSeconds(silence), " s")
          : absl::StrCat("stuck in a step for ", ToSeconds(member->load.step_age), " s"));
  if (member->health.ok()) SetHealth(member, lost);
  member->group->LoseStreams(lost);
}

void Membership::SetHealth(Member* member, absl::Status health) {
  if (health.ok() != member->health.ok()) {
    SKV_LOG(INFO) << "worker group " << member->group->address()
                  << (health.ok() ? " is healthy" : " is out: ") << health.message();
  }
  if (member->health.ok() && !health.ok()) ++member->num_outages;
  member->health = std::move(health);
}

Candidate Membership::MakeCandidate(const Member& member, const ClusterModel& model) {
  // The keys that requests come with say nothing of a cache that names prefixes in another way.
  const bool same_naming = member.served->prefix_naming() == model.served->prefix_naming();
  return {.group_id = member.group->id(),
          .reported_tokens = member.load.unfinished_tokens,
          .outstanding_at_report = member.outstanding_at_report,
          .outstanding = member.group->outstanding(),
          .cache_id = same_naming ? member.cache_id : kNoCache};
}

void Membership::PublishCaches() {
  if (prefixes_ == nullptr) return;
  std::vector<CacheId> caches;
  for (const auto& [id, member] : members_) caches.push_back(member->cache_id);
  prefixes_->SetCaches(caches);
}

void Membership::CountRecoveries(Cluster* cluster) {
  const std::shared_ptr<const Cluster> before = snapshot();
  for (const auto& [id, entry] : cluster->groups) {
    const auto old = before->groups.find(id);
    const bool was_there =
        old != before->groups.end() && old->second.health.ok() && old->second.epoch == entry.epoch;
    if (entry.health.ok() && !was_there) ++num_recoveries_;
  }
  cluster->num_recoveries = num_recoveries_;
}

void Membership::Publish() {
  auto cluster = std::make_shared<Cluster>();
  std::map<std::string, std::vector<Candidate>> candidates;
  for (const auto& [id, member] : members_) {
    cluster->groups[id] = {
        .group = member->group,
        .fingerprint = member->served == nullptr ? "" : member->served->fingerprint(),
        .numerics_id = member->numerics_id,
        .cache_id = member->cache_id,
        .store_id = member->load.store_id,
        .store_watch_address = member->load.store_watch_address,
        .epoch = member->epoch,
        .draining = member->load.draining,
        .leaving = member->leaving,
        .num_outages = member->num_outages,
        .health =
            member->leaving ? absl::UnavailableError("left the worker list") : member->health};
    if (member->served == nullptr || member->leaving) continue;
    ClusterModel& model = cluster->models[member->served->name()];
    // That of a group that is out may be another one of this name, and one that names no prefixes
    // serves until there is one that does.
    const bool first_healthy = member->health.ok() && model.num_healthy_groups == 0;
    if (model.served == nullptr || first_healthy ||
        (member->health.ok() && !model.served->prefix_naming().has_value())) {
      model.served = member->served;
    }
    if (member->health.ok()) ++model.num_healthy_groups;
  }
  for (const auto& [id, member] : members_) {
    if (member->served == nullptr || member->leaving || !member->health.ok()) continue;
    const std::string& name = member->served->name();
    candidates[name].push_back(MakeCandidate(*member, cluster->models[name]));
  }
  for (auto& [name, model] : cluster->models) {
    model.picker = picker_factory_(std::move(candidates[name]));
  }
  CountRecoveries(cluster.get());
  PublishCaches();
  MutexLock listener_lock(&listener_mutex_);
  if (listener_ != nullptr) listener_(*cluster);
  MutexLock lock(&snapshot_mutex_);
  snapshot_ = std::move(cluster);
}

}  // namespace skv::router
