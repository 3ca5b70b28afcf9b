#pragma once
// A store with its two front doors, sessions and gRPC, in this process.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "common/clock.h"
#include "common/mutex.h"
#include "gtest/gtest.h"
#include "kvstore/arena/arena.h"
#include "kvstore/grpc/kvstore_server.h"
#include "kvstore/server/session_server.h"
#include "kvstore/server/testing/test_client.h"
#include "kvstore/watch/watch_mirror.h"

namespace skv::kvstore {

// The keys that a store has announced, as one who follows it knows them. Thread-safe.
class MirrorSet : public WatchListener {
 public:
  using Keys = std::map<std::string, uint32_t>;  // hexadecimal prefix -> depth

  void OnSnapshotBegin(const StoreEpoch& epoch) override;
  void OnAdded(const EntryKey& key, uint32_t depth) override;
  void OnRemoved(const EntryKey& key) override;
  void OnSnapshotEnd() override;

  Keys keys() const;
  // Removals of what was not there: after a snapshot there are none, since no event is missing.
  int num_unknown_removals() const;

 private:
  mutable Mutex mutex_;
  Keys keys_ SKV_GUARDED_BY(mutex_);
  std::optional<Keys> doubted_ SKV_GUARDED_BY(mutex_);  // while there is a snapshot
  int num_unknown_removals_ SKV_GUARDED_BY(mutex_) = 0;
};

struct TestStoreOptions {
  uint64_t arena_bytes = 1 << 20;
  uint32_t max_entries = 1 << 14;
  uint32_t watch_stride = 1;
  uint32_t max_watch_events = 1 << 16;
  uint32_t max_watch_streams = 4;
  uint32_t max_read_streams = 4;
  int port = 0;
  const Clock* clock = &RealClock();
  std::map<std::string, int64_t> quotas;  // bytes, by tenant
};

class TestStore {
 public:
  explicit TestStore(const TestStoreOptions& options = {});
  // gRPC first, as in the process.
  ~TestStore();

  std::unique_ptr<TestClient> Connect(const Hello& hello = TestHello()) const {
    return std::make_unique<TestClient>(path_, hello);
  }
  std::string address() const;
  int port() const { return grpc_options_.port; }
  // With no deadline of its own.
  std::unique_ptr<v1::KvStore::Stub> NewStub() const;
  KvStoreServer& grpc() { return *grpc_; }
  EventFeed& events() { return events_; }
  CommandQueue& commands() { return commands_; }
  ServerGauges gauges() const { return status_.gauges(); }
  // gRPC ends and begins again at the same port, while the sessions go on.
  void StopGrpc();
  void StartGrpc();
  // What Watch should have told by now: read on the store's own thread.
  MirrorSet::Keys Announced();
  // Stops the thread of the sessions; commands are refused then.
  void StopSessions();

 private:
  KvStoreServerOptions grpc_options_;
  std::string folder_;
  std::string path_;
  ServerStatus status_{&RealClock()};
  EventFeed events_;
  CommandQueue commands_{64};
  CommandStoreOwner owner_{&commands_};
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<BlockStore> store_;
  std::unique_ptr<TierDesk> desk_;
  std::unique_ptr<SessionServer> server_;
  std::unique_ptr<KvStoreServer> grpc_;
  std::thread thread_;
};

}  // namespace skv::kvstore
