#pragma once
// A store's session server in a thread of this process, with its socket in a folder of its own.

#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "kvstore/arena/arena.h"
#include "kvstore/client/session_block_client.h"
#include "kvstore/server/server_status.h"
#include "kvstore/server/session_server.h"
#include "kvstore/store/block_store.h"

namespace skv::prefix {

class RunningStore {
 public:
  explicit RunningStore(uint64_t arena_bytes);
  ~RunningStore();
  RunningStore(const RunningStore&) = delete;
  RunningStore& operator=(const RunningStore&) = delete;

  absl::StatusOr<std::unique_ptr<kvstore::BlockClient>> TryConnect() const;
  std::unique_ptr<kvstore::BlockClient> Connect(int rank = 0, int world_size = 1) const;
  // Closes all sessions, and nobody listens any more.
  void Stop();

 private:
  std::string folder_;
  std::unique_ptr<kvstore::Arena> arena_;
  std::unique_ptr<kvstore::BlockStore> store_;
  kvstore::ServerStatus status_;
  std::unique_ptr<kvstore::SessionServer> server_;
  std::thread thread_;
};

}  // namespace skv::prefix
