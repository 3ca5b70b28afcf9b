#include "worker/prefix/testing/running_store.h"

#include <stdlib.h>

#include <filesystem>

#include "common/clock.h"
#include "common/log.h"
#include "kvstore/index/s3fifo_order.h"
#include "kvstore/session/session_listener.h"

namespace skv::prefix {
namespace {

// For what must happen, however loaded the machine is.
TimePoint Patience() { return RealClock().Now() + std::chrono::seconds(60); }

std::string MakeFolder() {
  char name[] = "/tmp/skv_prefix_XXXXXX";
  SKV_CHECK(mkdtemp(name) != nullptr);
  return name;
}

}  // namespace

RunningStore::RunningStore(uint64_t arena_bytes)
    : folder_(MakeFolder()),
      arena_(kvstore::Arena::Create({.num_bytes = arena_bytes, .spare_bytes = 0}, RealClock())
                 .value()),
      status_(&RealClock()) {
  kvstore::BlockStoreOptions options;
  options.index.capacity_bytes = static_cast<int64_t>(arena_->num_bytes());
  options.index.max_entries = options.index.max_shards = 1 << 12;
  options.index.leases.max_sessions = 16;
  const auto bytes = arena_->Bytes(0, arena_->num_bytes());
  store_ = std::make_unique<kvstore::BlockStore>(
      options, kvstore::CreateS3FifoOrder(options.index.order()), bytes);
  server_ = kvstore::SessionServer::Create(
                {.handler = {.arena_bytes = arena_->num_bytes(), .max_clients = 15},
                 .arena_fd = arena_->fd()},
                kvstore::SessionListener::Listen(folder_ + "/s").value(), store_.get(), &status_)
                .value();
  thread_ = std::thread([this] { SKV_CHECK(server_->Run().ok()); });
}

RunningStore::~RunningStore() {
  Stop();
  std::filesystem::remove_all(folder_);
}

absl::StatusOr<std::unique_ptr<kvstore::BlockClient>> RunningStore::TryConnect() const {
  return kvstore::ConnectSessionBlockClient(folder_ + "/s", {.client_name = "test"}, Patience());
}

std::unique_ptr<kvstore::BlockClient> RunningStore::Connect(int rank, int world_size) const {
  return kvstore::ConnectSessionBlockClient(
             folder_ + "/s", {.client_name = "test", .rank = rank, .world_size = world_size},
             Patience())
      .value();
}

void RunningStore::Stop() {
  if (!thread_.joinable()) return;
  server_->Stop();
  thread_.join();
  server_.reset();
}

}  // namespace skv::prefix
