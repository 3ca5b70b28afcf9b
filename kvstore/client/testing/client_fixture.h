#pragma once
// A folder with a store's socket, and clients of it.

#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "kvstore/client/in_process_block_client.h"
#include "kvstore/client/session_block_client.h"
#include "kvstore/client/testing/fake_kvstore.h"
#include "kvstore/client/testing/test_chain.h"

namespace skv::kvstore {

inline constexpr uint64_t kTestArenaBytes = 1 << 20;

class ClientFixture {
 public:
  ClientFixture() {
    char name[] = "/tmp/skv_client_XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    folder_ = name;
  }
  ~ClientFixture() {
    store_.reset();
    std::filesystem::remove_all(folder_);
  }

  FakeKvstore& StartStore(uint32_t max_requests = 64) {
    store_.reset();
    const FakeKvstoreOptions options = {.arena_bytes = kTestArenaBytes,
                                        .root = kTestRoot,
                                        .max_requests = max_requests,
                                        .epoch = {++num_stores_}};
    store_ = std::make_unique<FakeKvstore>(path(), options);
    return *store_;
  }
  void KillStore() { store_.reset(); }
  FakeKvstore& store() { return *store_; }
  std::string path() const { return folder_ + "/s"; }

  absl::StatusOr<std::unique_ptr<BlockClient>> TryConnect(int rank = 0, int world_size = 1) const {
    return ConnectSessionBlockClient(
        path(), {.client_name = "test", .rank = rank, .world_size = world_size}, Soon());
  }
  std::unique_ptr<BlockClient> Connect(int rank = 0, int world_size = 1) const {
    return TryConnect(rank, world_size).value();
  }
  static absl::StatusOr<std::unique_ptr<BlockClient>> CreateLocal() {
    return CreateInProcessBlockClient({.capacity_bytes = kTestArenaBytes});
  }

 private:
  std::string folder_;
  uint8_t num_stores_ = 0;
  std::unique_ptr<FakeKvstore> store_;
};

// The store has answered all that was asked before, notices included.
inline void Sync(BlockClient& client) {
  EXPECT_OK(client.Flush(Soon()));
  EXPECT_OK(client.Get(std::vector<PrefixKey>{kTestRoot}, Soon()));
}

}  // namespace skv::kvstore
