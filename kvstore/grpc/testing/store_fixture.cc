#include "kvstore/grpc/testing/store_fixture.h"

#include <algorithm>
#include <filesystem>
#include <future>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/testing/eventually.h"
#include "common/testing/status_matchers.h"
#include "kvstore/index/s3fifo_order.h"

namespace skv::kvstore {

void MirrorSet::OnSnapshotBegin(const StoreEpoch& /*epoch*/) {
  const MutexLock lock(&mutex_);
  if (doubted_.has_value()) {
    keys_.merge(*doubted_);
  }
  doubted_ = std::exchange(keys_, {});
}

void MirrorSet::OnAdded(const EntryKey& key, uint32_t depth) {
  const MutexLock lock(&mutex_);
  keys_[ToHex(key.prefix)] = depth;
}

void MirrorSet::OnRemoved(const EntryKey& key) {
  const MutexLock lock(&mutex_);
  const bool was_there = keys_.erase(ToHex(key.prefix)) > 0;
  if (!was_there && !doubted_.has_value()) ++num_unknown_removals_;
}

void MirrorSet::OnSnapshotEnd() {
  const MutexLock lock(&mutex_);
  doubted_.reset();
}

MirrorSet::Keys MirrorSet::keys() const {
  const MutexLock lock(&mutex_);
  return keys_;
}

int MirrorSet::num_unknown_removals() const {
  const MutexLock lock(&mutex_);
  return num_unknown_removals_;
}

TestStore::TestStore(const TestStoreOptions& options) : events_(options.max_watch_events) {
  char name[] = "/tmp/skv_watch_XXXXXX";
  SKV_CHECK(mkdtemp(name) != nullptr);
  folder_ = name;
  path_ = folder_ + "/s";
  arena_ = Arena::Create({.num_bytes = options.arena_bytes, .spare_bytes = 0}, RealClock()).value();
  BlockStoreOptions store;
  store.index.capacity_bytes = static_cast<int64_t>(arena_->num_bytes());
  store.index.max_entries = store.index.max_shards = options.max_entries;
  store.index.watch_stride = options.watch_stride;
  store.index.max_pins = 2;
  store_ = std::make_unique<BlockStore>(store, CreateS3FifoOrder(store.index.order()),
                                        arena_->Bytes(0, arena_->num_bytes()));
  desk_ =
      std::make_unique<TierDesk>(TierDeskOptions(), store_.get(),
                                 arena_->Bytes(0, arena_->num_bytes()), std::vector<TierInbox*>());
  owner_.SetDesk(desk_.get());
  SessionServerOptions sessions{.arena_fd = arena_->fd(), .commands = &commands_};
  std::random_device random;
  for (uint8_t& byte : sessions.handler.epoch) byte = static_cast<uint8_t>(random());
  sessions.handler.arena_bytes = arena_->num_bytes();
  sessions.handler.events = &events_;
  sessions.handler.tiers = desk_.get();
  for (const auto& [tenant, bytes] : options.quotas) {
    sessions.handler.tenants[tenant] = store_->tenants().Add(bytes).value();
  }
  server_ = SessionServer::Create(sessions, SessionListener::Listen(path_).value(), store_.get(),
                                  &status_)
                .value();
  grpc_options_ = {.port = options.port,
                   .service = {.epoch = sessions.handler.epoch,
                               .index = store.index,
                               .max_watch_streams = options.max_watch_streams,
                               .max_read_streams = options.max_read_streams,
                               .clock = options.clock}};
  StartGrpc();
  thread_ = std::thread([this] { EXPECT_OK(server_->Run()); });
  SKV_CHECK(Eventually([this] { return status_.CheckReady().ok(); }));
}

TestStore::~TestStore() {
  grpc_.reset();
  StopSessions();
  server_.reset();
  std::filesystem::remove_all(folder_);
}

void TestStore::StartGrpc() {
  // The port may not be free at once.
  SKV_CHECK(Eventually([this] {
    auto started = KvStoreServer::Start(grpc_options_, &events_, &commands_, &owner_);
    if (!started.ok()) return false;
    grpc_ = *std::move(started);
    return true;
  }));
  grpc_options_.port = grpc_->port();
}

void TestStore::StopGrpc() { grpc_.reset(); }

void TestStore::StopSessions() {
  if (!thread_.joinable()) return;
  server_->Stop();
  thread_.join();
}

std::string TestStore::address() const { return absl::StrCat("127.0.0.1:", port()); }

std::unique_ptr<v1::KvStore::Stub> TestStore::NewStub() const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return v1::KvStore::NewStub(
      grpc::CreateCustomChannel(address(), grpc::InsecureChannelCredentials(), arguments));
}

MirrorSet::Keys TestStore::Announced() {
  std::promise<MirrorSet::Keys> promise;
  const TimePoint deadline = RealClock().Now() + std::chrono::seconds(120);
  EXPECT_OK(commands_.Submit(deadline, [&](const absl::StatusOr<StoreAdmin*>& admin) {
    MirrorSet::Keys keys;
    for (std::optional<EntryIdx> at = 0; at.has_value();) {
      const SnapshotPage page = (*admin)->ReadSnapshot(*at);
      for (const EntryEvent& entry : page.entries) keys[ToHex(entry.key.prefix)] = entry.depth;
      at = page.next;
    }
    promise.set_value(std::move(keys));
  }));
  return promise.get_future().get();
}

}  // namespace skv::kvstore
