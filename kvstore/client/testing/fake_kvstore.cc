#include "kvstore/client/testing/fake_kvstore.h"

#include <poll.h>
#include <unistd.h>

#include <bit>
#include <iterator>
#include <utility>
#include <vector>

#include "common/log.h"
#include "kvstore/index/lru_order.h"

namespace skv::kvstore {
namespace {

BlockStoreOptions StoreOptions(const Arena& arena) {
  BlockStoreOptions options;
  options.index.capacity_bytes = static_cast<int64_t>(arena.num_bytes());
  options.index.max_entries = options.index.max_shards = 10000;
  options.index.leases = {.max_sessions = 100, .max_leases = 10000, .max_leases_per_session = 5000};
  return options;
}

std::unique_ptr<Arena> CreateArena(uint64_t num_bytes) {
  return Arena::Create({.num_bytes = num_bytes, .spare_bytes = 0}, RealClock()).value();
}

LeaseHandle HandleOf(LeaseId lease) { return std::bit_cast<LeaseHandle>(lease); }
LeaseId LeaseOf(LeaseHandle handle) { return std::bit_cast<LeaseId>(handle); }

}  // namespace

FakeKvstore::FakeKvstore(const std::string& path, const FakeKvstoreOptions& options)
    : options_(options),
      arena_(CreateArena(options.arena_bytes)),
      store_(StoreOptions(*arena_), CreateLruOrder(StoreOptions(*arena_).index.order()),
             arena_->Bytes(0, arena_->num_bytes())),
      listener_(std::make_unique<SessionListener>(SessionListener::Listen(path).value())),
      welcome_fd_(arena_->fd()) {
  int fds[2] = {-1, -1};
  SKV_CHECK(pipe(fds) == 0);
  stop_.Reset(fds[0]);
  stop_peer_.Reset(fds[1]);
  thread_ = std::thread([this] { Run(); });
}

FakeKvstore::~FakeKvstore() {
  stop_peer_.Reset();
  thread_.join();
}

void FakeKvstore::set_tamper(Tamper tamper) {
  const MutexLock lock(&mutex_);
  tamper_ = std::move(tamper);
}

void FakeKvstore::set_welcome_fd(int fd) {
  const MutexLock lock(&mutex_);
  welcome_fd_ = fd;
}

BlockStoreGauges FakeKvstore::gauges() const {
  const MutexLock lock(&mutex_);
  return store_.gauges();
}

void FakeKvstore::Run() {
  while (true) {
    std::vector<pollfd> polled = {{stop_.get(), POLLIN, 0}};
    {
      const MutexLock lock(&mutex_);
      if (is_dead_) return;
      polled.push_back({listener_->fd(), POLLIN, 0});
      for (const Client& client : clients_) polled.push_back({client.socket.fd(), POLLIN, 0});
    }
    poll(polled.data(), polled.size(), -1);
    if (polled[0].revents != 0) return;
    const MutexLock lock(&mutex_);
    size_t i = 2;
    for (Client& client : clients_) {
      if (polled[i++].revents != 0) Serve(&client);
      if (is_dead_) break;
    }
    if (polled[1].revents != 0 && !is_dead_) {
      if (auto accepted = listener_->TryAccept(); accepted.ok() && accepted->has_value()) {
        clients_.emplace_back(*std::move(*accepted)).session = store_.OpenSession().value();
      }
    }
    RemoveGone();
  }
}

void FakeKvstore::RemoveGone() {
  for (auto client = clients_.begin(); client != clients_.end();) {
    const auto next = std::next(client);
    if (client->is_gone || is_dead_) {
      SKV_CHECK(store_.CloseSession(client->session).ok());
      clients_.erase(client);
    }
    client = next;
  }
  if (is_dead_) listener_.reset();
  SendNotices();
}

void FakeKvstore::Serve(Client* client) {
  const auto bytes = client->socket.TryReceive(buffer_);
  if (!bytes.ok() || !bytes->has_value()) {
    client->is_gone = !bytes.ok();
    return;
  }
  const absl::StatusOr<Frame> request = DecodeFrame(**bytes);
  if (!request.ok()) {
    Send(client, {.body = ErrorOf(request.status())});
    client->is_gone = true;
    return;
  }
  Send(client, {.request_id = request->request_id, .body = Answer(client, request->body)});
  SendNotices();
}

void FakeKvstore::Send(Client* client, Frame frame) {
  const bool is_welcome = std::holds_alternative<Welcome>(frame.body);
  const Act act = tamper_ != nullptr ? tamper_(&frame) : Act::kSend;
  if (act == Act::kDie) is_dead_ = true;
  if (act != Act::kSend) return;
  const auto bytes = EncodeFrame(frame);
  SKV_CHECK(bytes.ok()) << bytes.status().ToString();
  // A client that is gone shows when it is read from.
  client->socket.TrySend(*bytes, is_welcome ? welcome_fd_ : -1).IgnoreError();
}

FrameBody FakeKvstore::Answer(Client* client, const FrameBody& request) {
  if (const auto* hello = std::get_if<Hello>(&request)) {
    client->hello = *hello;
    return Welcome{.epoch = options_.epoch,
                   .arena_bytes = arena_->num_bytes(),
                   .max_leases = 5000,
                   .max_requests = options_.max_requests};
  }
  if (const auto* create = std::get_if<Create>(&request)) return AnswerCreate(*client, *create);
  if (const auto* seal = std::get_if<Seal>(&request)) return AnswerSeal(*client, *seal);
  if (const auto* get = std::get_if<Get>(&request)) return AnswerGet(*client, *get);
  if (const auto* wait = std::get_if<Wait>(&request)) return AnswerWait(client, *wait);
  if (const auto* report = std::get_if<Report>(&request)) return AnswerReport(*client, *report);
  if (const auto* release = std::get_if<Release>(&request)) {
    return AnswerRelease(*client, *release);
  }
  return ErrorOf(absl::InvalidArgumentError("no request"));
}

FrameBody FakeKvstore::AnswerCreate(const Client& client, const Create& create) {
  CreateReply reply;
  for (const CreateItem& item : create.items) {
    const NewBlock block = {.key = {item.key, client.hello.layout},
                            .parent = item.has_parent ? item.parent : options_.root,
                            .is_first = !item.has_parent,
                            .rank = client.hello.rank,
                            .world_size = client.hello.world_size,
                            .num_tokens = static_cast<int>(item.num_tokens),
                            .payload_bytes = item.payload_bytes};
    const auto created = std::move(store_.Create(client.session, {block}, RealClock().Now())[0]);
    CreateReplyItem answer = {.code = created.status().code()};
    if (created.ok()) {
      answer.outcome = static_cast<CreateOutcome>(static_cast<int>(created->outcome) + 1);
    }
    if (answer.outcome == CreateOutcome::kCreated) {
      answer.lease = HandleOf(created->lease);
      answer.range = {created->offset, created->num_bytes};
      writing_.insert(item.key);
    }
    reply.items.push_back(answer);
  }
  return reply;
}

FrameBody FakeKvstore::AnswerSeal(const Client& client, const Seal& seal) {
  SealReply reply;
  for (const SealItem& item : seal.items) {
    const auto sealed = store_.Seal(client.session, {LeaseOf(item.lease)}, item.is_tip)[0];
    reply.items.push_back({.code = sealed.status().code(), .is_visible = sealed.ok() && *sealed});
  }
  return reply;
}

FrameBody FakeKvstore::AnswerGet(const Client& client, const Get& get) {
  std::vector<EntryKey> keys;
  for (const PrefixKey& key : get.keys) keys.push_back({key, client.hello.layout});
  std::vector<ShardBytes> shards;
  const auto hit = store_.Get(client.session, client.hello.rank, keys, &shards);
  GetReply reply = {.code = hit.status().code()};
  if (!hit.ok() || shards.empty()) return reply;
  reply.lease = HandleOf(hit->lease);
  for (const ShardBytes& shard : shards) {
    reply.blocks.push_back(
        {static_cast<uint64_t>(shard.offset), static_cast<uint64_t>(shard.bytes)});
  }
  return reply;
}

FrameBody FakeKvstore::AnswerRelease(const Client& client, const Release& release) {
  ReleaseReply reply;
  for (const LeaseHandle lease : release.leases) {
    reply.codes.push_back(store_.Release(client.session, {LeaseOf(lease)}).code());
  }
  return reply;
}

FrameBody FakeKvstore::AnswerWait(Client* client, const Wait& wait) {
  Notice notice;
  for (const PrefixKey& key : wait.keys) {
    if (writing_.contains(key)) {
      client->awaited.insert(key);
    } else {
      (IsVisible(*client, key) ? notice.sealed : notice.abandoned).push_back(key);
    }
  }
  if (!notice.sealed.empty() || !notice.abandoned.empty()) Send(client, {.body = notice});
  return WaitReply();
}

// At its client's word, and at once.
FrameBody FakeKvstore::AnswerReport(const Client& client, const Report& report) {
  for (const PrefixKey& key : report.keys) {
    store_.Invalidate({key, client.hello.layout}).IgnoreError();
  }
  return ReportReply();
}

bool FakeKvstore::IsVisible(const Client& client, const PrefixKey& key) {
  std::vector<ShardBytes> shards;
  const auto hit =
      store_.Get(client.session, client.hello.rank, {{key, client.hello.layout}}, &shards);
  if (!hit.ok() || shards.empty()) return false;
  SKV_CHECK(store_.Release(client.session, {hit->lease}).ok());
  return true;
}

void FakeKvstore::SendNotices() {
  const StoreNews news = store_.TakeNews();
  for (const EntryKey& key : news.sealed) writing_.erase(key.prefix);
  for (const EntryKey& key : news.abandoned) writing_.erase(key.prefix);
  for (Client& client : clients_) {
    Notice notice;
    for (const EntryKey& key : news.sealed) {
      if (client.awaited.erase(key.prefix) > 0) notice.sealed.push_back(key.prefix);
    }
    for (const EntryKey& key : news.abandoned) {
      if (client.awaited.erase(key.prefix) > 0) notice.abandoned.push_back(key.prefix);
    }
    if (!notice.sealed.empty() || !notice.abandoned.empty()) Send(&client, {.body = notice});
  }
}

}  // namespace skv::kvstore
