#pragma once
// A skv-worker process: one rank, and on rank 0 the group's engine and gRPC server. The leader runs
// until SIGTERM, SIGINT or a Drain call (drains, then OK), a follower until the leader ends, which
// these signals do not change; both end when the group breaks.

#include <string>

#include "absl/status/status.h"
#include "worker/engine/rank.h"
#include "worker/server/policy_flags.h"

namespace skv::server {

struct WorkerOptions {
  engine::RankOptions rank = {.enable_prefix_caching = true};
  std::string served_model_name;  // empty: the file's name
  int tensor_parallel_size = 1;
  int rank_idx = 0;
  std::string group_path;  // rendezvous of the ranks; needed when there are several
  int join_timeout_secs = 60;
  std::string host = "127.0.0.1";
  int port = 0;                         // gRPC of rank 0
  int admin_port = 0;                   // HTTP of every rank; 0: any free one
  std::string metrics_compat = "vllm";  // whose metric names are exported beside ours, or "none"
  PolicyOffer kv_policies;
  std::string kvstore_watch_address;  // host:port of the store's gRPC, for routers; empty: untold
  int max_num_seqs = 64;
  int max_queue = 1024;
  int drain_timeout_secs = 60;
  int max_step_age_secs = 20;  // older heartbeats are a stall
};

// InvalidArgument: flags that do not go together. Others as loader, communicator and servers say.
absl::Status RunWorker(const WorkerOptions& options);

}  // namespace skv::server
