#pragma once
// Which processes a local cluster has, and where they listen. Pure.

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/process.h"
#include "worker/server/policy_flags.h"

namespace skv::cli {

struct ClusterOptions {
  int num_groups = 1;
  int tensor_parallel_size = 1;
  int threads_per_rank = 0;  // 0: the cores shared out evenly, at least 1
  std::string model_path;
  // IPv4 address that the router listens on, admin port included; the workers stay on loopback.
  std::string host = "127.0.0.1";
  int port = 8070;       // of the router; admin of the router is port + 1
  bool kvstore = false;  // a store of prefixes, which all ranks share
  std::string binary_dir;
  std::string log_dir;
  server::PolicyOffer kv_policies;         // of the workers
  std::vector<std::string> worker_flags;   // passed to each rank
  std::vector<std::string> router_flags;   // passed to the router
  std::vector<std::string> kvstore_flags;  // passed to the store
};

struct ProcessPlan {
  std::string name;  // "group 0 rank 1"
  ChildOptions child;
  std::string admin_host;  // where to reach it from here
  int admin_port;
};

// Where a process listens.
struct PlannedPort {
  std::string owner;  // "router's gRPC", "metrics of group 0 rank 1"
  std::string host;   // IPv4 address
  int port;
};

struct ClusterPlan {
  std::vector<std::vector<ProcessPlan>> groups;  // [group][rank]
  ProcessPlan router;
  std::optional<ProcessPlan> kvstore;
  int router_port;
  std::vector<PlannedPort> ports;  // all of them
};

// Ports: the router takes `port` and `port` + 1, the store's admin port is `port` + 2 and its gRPC
// port is `port` + 3, group g's gRPC is `port` + 30 + g, and the admin port of the i-th rank of all
// is `port` + 130 + i.
// InvalidArgument: these pass 65535, or the flags for a process name one that the plan sets itself,
// or are for a store that is not planned.
absl::StatusOr<ClusterPlan> PlanCluster(const ClusterOptions& options, int num_cores);

}  // namespace skv::cli
