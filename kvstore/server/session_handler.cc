#include "kvstore/server/session_handler.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"
#include "kvstore/index/entry_store.h"

namespace skv::kvstore {
namespace {

LeaseHandle ToHandle(LeaseId lease) {
  return static_cast<LeaseHandle>(lease.index | uint64_t{lease.generation} << 32);
}

LeaseId ToLease(LeaseHandle handle) {
  const auto bits = static_cast<uint64_t>(handle);
  return {.index = static_cast<uint32_t>(bits), .generation = static_cast<uint32_t>(bits >> 32)};
}

ArenaRange ToRange(const ShardBytes& shard) {
  return {.offset = static_cast<uint64_t>(shard.offset),
          .num_bytes = static_cast<uint64_t>(shard.bytes)};
}

std::string Encode(const Frame& frame) {
  absl::StatusOr<std::string> bytes = EncodeFrame(frame);
  SKV_CHECK(bytes.ok()) << bytes.status().ToString();
  return *std::move(bytes);
}

}  // namespace

SessionHandler::SessionHandler(const SessionHandlerOptions& options, BlockStore* store)
    : options_(options),
      store_(store),
      own_session_(store->OpenSession().value()),
      clients_(options.max_clients) {
  // Else what a client is to be told would not fit into one frame.
  SKV_CHECK(options.max_waits_per_session <= kMaxFrameItems);
}

std::optional<SessionHandler::ClientId> SessionHandler::Connect() {
  const std::optional<uint32_t> index = clients_.Allocate();
  if (!index.has_value()) return std::nullopt;
  return clients_.HandleOf(*index);
}

void SessionHandler::Disconnect(ClientId id) {
  Client& client = clients_[id.index];
  waits_.RemoveAll(id.index);
  if (client.session.has_value()) {
    SKV_CHECK(store_->CloseSession(*client.session).ok());
  }
  client = {};
  clients_.Free(id.index);
  TellNews();
}

bool SessionHandler::MayReceive(ClientId id) const {
  const Client& client = clients_[id.index];
  return client.state != State::kFailed && client.output.empty();
}

bool SessionHandler::HasFailed(ClientId id) const {
  return clients_[id.index].state == State::kFailed;
}

bool SessionHandler::HasSession(ClientId id) const {
  return clients_[id.index].session.has_value();
}

void SessionHandler::Fail(ClientId id, const absl::Status& status, uint64_t request_id) {
  SKV_CHECK(MayReceive(id));
  Silence(id);
  Client& client = clients_[id.index];
  const Error error = ErrorOf(status);
  SKV_LOG_EVERY_SECONDS(WARNING, 10)
      << "client '" << client.hello.client_name << "' got an error: " << error.message;
  client.output = Encode({request_id, error});
  ++totals_.num_errors;
}

void SessionHandler::Silence(ClientId id) {
  Client& client = clients_[id.index];
  client.state = State::kFailed;
  client.output.clear();
  client.notice = {};
  waits_.RemoveAll(id.index);
}

void SessionHandler::Receive(ClientId id, std::string_view bytes, TimePoint now) {
  SKV_CHECK(MayReceive(id));
  const absl::StatusOr<Frame> frame = DecodeFrame(bytes);
  if (!frame.ok()) return Fail(id, frame.status());
  if (clients_[id.index].state == State::kGreeting) {
    const auto* hello = std::get_if<Hello>(&frame->body);
    if (hello != nullptr) return Open(id, *hello);
    return Fail(
        id,
        absl::FailedPreconditionError(absl::StrCat(
            "session: the first frame is a ", Sv(FrameName(frame->body)), ", expected a hello")),
        frame->request_id);
  }
  std::optional<FrameBody> reply = Answer(id, *frame, now);
  if (!reply.has_value()) return;
  clients_[id.index].output = Encode({frame->request_id, *std::move(reply)});
  TellNews();
}

void SessionHandler::Open(ClientId id, const Hello& hello) {
  Client& client = clients_[id.index];
  if (hello.world_size > kMaxRanks) {
    return Fail(id,
                absl::InvalidArgumentError(absl::StrCat("session: world_size is ", hello.world_size,
                                                        ", expected 1 to ", kMaxRanks)));
  }
  const absl::StatusOr<SessionId> session = store_->OpenSession();
  if (!session.ok()) return Fail(id, session.status());
  client.session = *session;
  client.hello = hello;
  const auto tenant = options_.tenants.find(hello.tenant);
  if (tenant != options_.tenants.end()) client.tenant = tenant->second;
  client.state = State::kOpen;
  client.is_welcome = true;
  client.output = Encode({0, Welcome{.epoch = options_.epoch,
                                     .arena_bytes = options_.arena_bytes,
                                     .max_leases = options_.max_leases_per_session,
                                     .max_requests = options_.max_requests}});
}

std::optional<FrameBody> SessionHandler::Answer(ClientId id, const Frame& frame, TimePoint now) {
  const Client& client = clients_[id.index];
  const FrameBody& body = frame.body;
  if (const auto* get = std::get_if<Get>(&body)) return OnGet(client, *get, now);
  if (const auto* release = std::get_if<Release>(&body)) return OnRelease(client, *release);
  if (const auto* create = std::get_if<Create>(&body)) return OnCreate(client, *create, now);
  if (const auto* seal = std::get_if<Seal>(&body)) return OnSeal(client, *seal);
  if (const auto* wait = std::get_if<Wait>(&body)) return OnWait(id, *wait);
  if (const auto* report = std::get_if<Report>(&body)) return OnReport(client, *report);
  Fail(id,
       absl::FailedPreconditionError(
           absl::StrCat("session: got a ", Sv(FrameName(body)), ", expected a request")),
       frame.request_id);
  return std::nullopt;
}

FrameBody SessionHandler::OnCreate(const Client& client, const Create& create, TimePoint now) {
  Count(RequestKind::kCreate);
  to_create_.clear();
  std::vector<bool> are_sought;
  for (const CreateItem& item : create.items) {
    are_sought.push_back(IsSought({item.key, client.hello.layout}));
    if (are_sought.back()) continue;
    to_create_.push_back({.key = {item.key, client.hello.layout},
                          .parent = item.parent,
                          .is_first = !item.has_parent,
                          .tenant = client.tenant,
                          .rank = client.hello.rank,
                          .world_size = client.hello.world_size,
                          .num_tokens = static_cast<int>(item.num_tokens),
                          .payload_bytes = item.payload_bytes});
  }
  const auto created = store_->Create(*client.session, to_create_, now);
  // A key may have been abandoned to be created anew here.
  TellNews();
  CreateReply reply;
  reply.items.reserve(create.items.size());
  size_t num_taken = 0;
  for (const bool is_sought : are_sought) {
    if (is_sought) {
      reply.items.push_back({.outcome = CreateOutcome::kInProgress});
      continue;
    }
    const size_t i = num_taken++;
    reply.items.push_back(ReplyTo(created[i]));
    if (reply.items.back().outcome == CreateOutcome::kCreated) written_.insert(to_create_[i].key);
  }
  return reply;
}

CreateReplyItem SessionHandler::ReplyTo(const absl::StatusOr<CreatedBlock>& created) {
  if (!created.ok()) {
    if (absl::IsResourceExhausted(created.status())) ++totals_.num_refused_blocks;
    return {.code = created.status().code()};
  }
  switch (created->outcome) {
    case Created::Outcome::kInProgress:
      return {.outcome = CreateOutcome::kInProgress};
    case Created::Outcome::kExists:
      return {.outcome = CreateOutcome::kExists};
    case Created::Outcome::kCreated:
      break;
  }
  return {.outcome = CreateOutcome::kCreated,
          .lease = ToHandle(created->lease),
          .range = {.offset = created->offset, .num_bytes = created->num_bytes}};
}

FrameBody SessionHandler::OnSeal(const Client& client, const Seal& seal) {
  Count(RequestKind::kSeal);
  SealReply reply;
  reply.items.reserve(seal.items.size());
  for (const SealItem& item : seal.items) {
    const auto sealed = store_->Seal(*client.session, {ToLease(item.lease)}, item.is_tip)[0];
    reply.items.push_back({.code = sealed.status().code(), .is_visible = sealed.ok() && *sealed});
  }
  return reply;
}

FrameBody SessionHandler::OnGet(const Client& client, const Get& get, TimePoint now) {
  Count(RequestKind::kGet);
  keys_.clear();
  for (const PrefixKey& key : get.keys) keys_.push_back({key, client.hello.layout});
  const auto hit = store_->Get(*client.session, client.hello.rank, keys_, &blocks_);
  if (!hit.ok()) return GetReply{.code = hit.status().code()};
  totals_.num_hit_blocks += hit->num_entries;
  totals_.num_missed_blocks += keys_.size() - hit->num_entries;
  if (hit->num_entries < keys_.size()) SeekRest(client, hit->num_entries, now);
  if (hit->num_entries == 0) return GetReply{};
  GetReply reply{.lease = ToHandle(hit->lease)};
  reply.blocks.reserve(blocks_.size());
  for (const ShardBytes& block : blocks_) reply.blocks.push_back(ToRange(block));
  return reply;
}

// Of what keys_ has beyond a hit: what nobody writes. Whoever writes does so in order, so what
// comes behind is written, too.
void SessionHandler::SeekRest(const Client& client, size_t num_hit, TimePoint now) {
  if (options_.tiers == nullptr) return;
  const auto rest = absl::MakeConstSpan(keys_).subspan(num_hit);
  const auto end =
      std::ranges::find_if(rest, [this](const EntryKey& key) { return written_.contains(key); });
  if (end == rest.begin()) return;
  std::optional<PrefixKey> parent;
  if (num_hit > 0) parent = keys_[num_hit - 1].prefix;
  options_.tiers->SeekChain({client.tenant, client.hello.world_size}, parent,
                            rest.first(static_cast<size_t>(end - rest.begin())), now);
}

FrameBody SessionHandler::OnRelease(const Client& client, const Release& release) {
  Count(RequestKind::kRelease);
  ReleaseReply reply;
  reply.codes.reserve(release.leases.size());
  for (const LeaseHandle lease : release.leases) {
    reply.codes.push_back(store_->Release(*client.session, {ToLease(lease)}).code());
  }
  return reply;
}

FrameBody SessionHandler::OnWait(ClientId id, const Wait& wait) {
  Count(RequestKind::kWait);
  Client& client = clients_[id.index];
  const size_t num_waits =
      waits_.NumWaitsOf(id.index) + client.notice.sealed.size() + client.notice.abandoned.size();
  if (num_waits + wait.keys.size() > options_.max_waits_per_session) {
    return WaitReply{.code = absl::StatusCode::kResourceExhausted};
  }
  for (const PrefixKey& prefix : wait.keys) {
    const EntryKey key{prefix, client.hello.layout};
    if (IsComing(key)) {
      waits_.Add(id.index, key);
    } else if (IsVisible(key, client.hello.rank)) {
      Tell(id.index, &Notice::sealed, prefix);
    } else {
      Tell(id.index, &Notice::abandoned, prefix);
    }
  }
  return WaitReply{};
}

FrameBody SessionHandler::OnReport(const Client& client, const Report& report) {
  Count(RequestKind::kReport);
  if (options_.tiers == nullptr) return ReportReply{.code = absl::StatusCode::kUnavailable};
  keys_.clear();
  for (const PrefixKey& prefix : report.keys) keys_.push_back({prefix, client.hello.layout});
  options_.tiers->Report(keys_);
  return ReportReply{};
}

// Counts as a use of the block, which the Get that follows is anyway. Without a lease left it is
// said to be abandoned: the client creates it, and hears that it exists.
bool SessionHandler::IsVisible(const EntryKey& key, uint32_t rank) {
  const auto hit = store_->Get(own_session_, rank, {key}, &blocks_);
  if (!hit.ok() || hit->num_entries == 0) return false;
  SKV_CHECK(store_->Release(own_session_, {hit->lease}).ok());
  return true;
}

void SessionHandler::TellNews() {
  const StoreNews news = store_->TakeNews();
  if (options_.events != nullptr) options_.events->Append(news.events);
  for (const EntryKey& key : news.sealed) {
    written_.erase(key);
    if (options_.tiers != nullptr) options_.tiers->OnSealed(key);
    TellWaiters(key, &Notice::sealed);
  }
  for (const EntryKey& key : news.abandoned) {
    written_.erase(key);
    if (options_.tiers != nullptr) options_.tiers->OnAbandoned(key);
    TellWaiters(key, &Notice::abandoned);
  }
  if (options_.tiers == nullptr) return;
  for (const EntryKey& key : options_.tiers->TakeEnded()) {
    if (!written_.contains(key)) TellWaiters(key, &Notice::abandoned);
  }
}

void SessionHandler::TellWaiters(const EntryKey& key, std::vector<PrefixKey> Notice::*list) {
  for (const uint32_t i : waits_.Take(key)) Tell(i, list, key.prefix);
}

void SessionHandler::Expire(TimePoint now) {
  if (options_.tiers == nullptr || options_.tiers->NextDeadline() > now) return;
  options_.tiers->Expire(now);
  TellNews();
}

TimePoint SessionHandler::NextDeadline() const {
  return options_.tiers == nullptr ? TimePoint::max() : options_.tiers->NextDeadline();
}

void SessionHandler::Tell(uint32_t index, std::vector<PrefixKey> Notice::*list,
                          const PrefixKey& key) {
  Client& client = clients_[index];
  (client.notice.*list).push_back(key);
  if (std::exchange(client.is_notified, true)) return;
  notified_.push_back(clients_.HandleOf(index));
}

std::vector<SessionHandler::ClientId> SessionHandler::TakeNotified() {
  std::vector<ClientId> taken;
  for (const ClientId id : std::exchange(notified_, {})) {
    if (!clients_.IsLive(id)) continue;
    clients_[id.index].is_notified = false;
    taken.push_back(id);
  }
  return taken;
}

std::optional<SessionHandler::Output> SessionHandler::NextOutput(ClientId id) {
  Client& client = clients_[id.index];
  const bool has_notice = !client.notice.sealed.empty() || !client.notice.abandoned.empty();
  if (client.output.empty() && has_notice) {
    client.output = Encode({0, std::exchange(client.notice, {})});
  }
  if (client.output.empty()) return std::nullopt;
  return Output{.frame = client.output, .passes_arena = client.is_welcome};
}

void SessionHandler::Sent(ClientId id) {
  Client& client = clients_[id.index];
  SKV_CHECK(!client.output.empty());
  client.output.clear();
  client.is_welcome = false;
}

SessionGauges SessionHandler::gauges() const {
  SessionGauges gauges = totals_;
  gauges.num_clients = clients_.size();
  const uint32_t num_own_sessions = options_.tiers == nullptr ? 1 : 2;
  gauges.num_sessions = store_->gauges().index.num_sessions - num_own_sessions;
  gauges.num_waits = waits_.size();
  return gauges;
}

}  // namespace skv::kvstore
