#pragma once
// A skv-kvstore process: takes the arena's memory, serves sessions and gRPC, and runs until SIGTERM
// or SIGINT.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kvstore/server/tier_setup.h"

namespace skv::kvstore {

struct KvStoreOptions {
  std::string socket;                // empty: DefaultSocketPath()
  std::string socket_mode = "0600";  // of the socket's file, octal: who may write may connect
  int64_t arena_bytes = 0;           // 0: a quarter of the machine's memory
  int max_sessions = 1024;
  int max_entries = 1 << 20;
  std::string eviction = "s3fifo";         // or lru
  std::vector<std::string> tenant_quotas;  // NAME=BYTES
  std::string host = "127.0.0.1";          // of both ports
  int port = 0;                            // gRPC; 0: any free one
  int max_watch_streams = 64;
  int admin_port = 0;  // HTTP; 0: any free one
  TierFlags tiers;
  std::vector<std::string> peers;  // HOST:PORT of other hosts' stores
  int max_read_streams = 16;
};

// $XDG_RUNTIME_DIR/skv-kvstore.sock; /tmp/skv-kvstore-<user id>.sock where that is not set.
std::string DefaultSocketPath();

// Writes "skv-kvstore: sessions at <path>", "... gRPC on <host:port>" and "... metrics on
// http://..." to standard output once it serves. OK after a signal, also while it starts.
// InvalidArgument: flags that do not go together. FailedPrecondition: the folder of the tier is in
// use, or cannot be used. ResourceExhausted: no memory for the arena.
// Others as SessionListener::Listen and the two servers say.
absl::Status RunKvStore(const KvStoreOptions& options);

}  // namespace skv::kvstore
