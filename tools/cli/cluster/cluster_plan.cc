#include "tools/cli/cluster/cluster_plan.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status.h"

namespace skv::cli {
namespace {

constexpr int kStoreAdminPortOffset = 2;
constexpr int kStorePortOffset = 3;
constexpr int kGroupPortOffset = 30;
constexpr int kAdminPortOffset = 130;
constexpr int kMaxPort = 65535;
// The file that configures the cluster has keys that its processes do not know.
constexpr char kNoConfig[] = "SKV_CONFIG=";
constexpr char kLoopback[] = "127.0.0.1";

// In memory: a folder of logs may have a path that is too long for a socket.
std::string StoreSocket() { return absl::StrCat("/dev/shm/skv-", getpid(), "-kvstore.sock"); }

ProcessPlan PlanRank(const ClusterOptions& options, int threads, int group, int rank) {
  const int admin_port =
      options.port + kAdminPortOffset + group * options.tensor_parallel_size + rank;
  ProcessPlan plan;
  plan.admin_host = kLoopback;
  plan.admin_port = admin_port;
  plan.name = absl::StrCat("group ", group, " rank ", rank);
  plan.child.environment = {kNoConfig};
  plan.child.log_path = absl::StrCat(options.log_dir, "/worker-", group, "-", rank, ".log");
  plan.child.args = {absl::StrCat(options.binary_dir, "/skv-worker"),
                     "--model",
                     options.model_path,
                     "--tensor-parallel-size",
                     absl::StrCat(options.tensor_parallel_size),
                     "--rank",
                     absl::StrCat(rank),
                     "--group-path",
                     absl::StrCat("/dev/shm/skv-", getpid(), "-", group),
                     "--threads",
                     absl::StrCat(threads),
                     "--host",
                     kLoopback,
                     "--port",
                     absl::StrCat(options.port + kGroupPortOffset + group),
                     "--admin-port",
                     absl::StrCat(admin_port)};
  if (options.kvstore) {
    plan.child.args.insert(plan.child.args.end(),
                           {"--kvstore-socket", StoreSocket(), "--kvstore-watch-address",
                            absl::StrCat(kLoopback, ":", options.port + kStorePortOffset)});
  }
  const std::vector<std::string> policies = server::ToArguments(options.kv_policies);
  plan.child.args.insert(plan.child.args.end(), policies.begin(), policies.end());
  return plan;
}

ProcessPlan PlanStore(const ClusterOptions& options) {
  ProcessPlan plan;
  plan.admin_host = kLoopback;
  plan.admin_port = options.port + kStoreAdminPortOffset;
  plan.name = "kvstore";
  plan.child.environment = {kNoConfig};
  plan.child.log_path = absl::StrCat(options.log_dir, "/kvstore.log");
  plan.child.args = {absl::StrCat(options.binary_dir, "/skv-kvstore"),
                     "--socket",
                     StoreSocket(),
                     "--host",
                     kLoopback,
                     "--port",
                     absl::StrCat(options.port + kStorePortOffset),
                     "--admin-port",
                     absl::StrCat(plan.admin_port)};
  return plan;
}

ProcessPlan PlanRouter(const ClusterOptions& options) {
  std::vector<std::string> urls;
  for (int group = 0; group < options.num_groups; ++group) {
    urls.push_back(absl::StrCat(kLoopback, ":", options.port + kGroupPortOffset + group));
  }
  ProcessPlan plan;
  plan.admin_host = options.host == "0.0.0.0" ? kLoopback : options.host;
  plan.admin_port = options.port + 1;
  plan.name = "router";
  plan.child.environment = {kNoConfig};
  plan.child.log_path = absl::StrCat(options.log_dir, "/router.log");
  plan.child.args = {absl::StrCat(options.binary_dir, "/skv-router"),
                     "--worker-urls",
                     absl::StrJoin(urls, ","),
                     "--host",
                     options.host,
                     "--port",
                     absl::StrCat(options.port),
                     "--admin-port",
                     absl::StrCat(plan.admin_port)};
  return plan;
}

// Appends `flags`, which the user gave as `source`. The last one of a name counts: what is printed
// about the process would not be true.
absl::Status AddFlags(std::string_view source, const std::vector<std::string>& flags,
                      ProcessPlan* plan) {
  std::vector<std::string>& args = plan->child.args;
  const std::vector<std::string> planned = args;
  for (const std::string& flag : flags) {
    const std::string name = flag.substr(0, flag.find('='));
    if (std::find(planned.begin() + 1, planned.end(), name) != planned.end()) {
      return absl::InvalidArgumentError(absl::StrCat(Sv(source), " ", flag,
                                                     ": skv cluster up sets ", name,
                                                     " itself; see the flags in its --help"));
    }
    args.push_back(flag);
  }
  return absl::OkStatus();
}

absl::Status CheckPorts(const ClusterOptions& options, int num_ranks) {
  const int highest = options.port + kAdminPortOffset + num_ranks - 1;
  if (highest <= kMaxPort) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--port ", options.port, ": with ", num_ranks, " rank(s) the highest port is ",
                   highest, ", expected at most ", kMaxPort, "; choose a --port of at most ",
                   kMaxPort - kAdminPortOffset - num_ranks + 1));
}

absl::Status AddStore(const ClusterOptions& options, ClusterPlan* plan) {
  if (!options.kvstore) {
    if (options.kvstore_flags.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("--kvstore-flag ", options.kvstore_flags[0],
                     ": there is no skv-kvstore to give it to; add --kvstore"));
  }
  plan->kvstore = PlanStore(options);
  plan->ports.push_back({"kvstore's gRPC", kLoopback, options.port + kStorePortOffset});
  plan->ports.push_back({"kvstore's metrics", kLoopback, plan->kvstore->admin_port});
  return AddFlags("--kvstore-flag", options.kvstore_flags, &*plan->kvstore);
}

}  // namespace

absl::StatusOr<ClusterPlan> PlanCluster(const ClusterOptions& options, int num_cores) {
  const int num_ranks = options.num_groups * options.tensor_parallel_size;
  SKV_RETURN_IF_ERROR(CheckPorts(options, num_ranks));
  const int threads =
      options.threads_per_rank > 0 ? options.threads_per_rank : std::max(1, num_cores / num_ranks);
  ClusterPlan plan;
  plan.router = PlanRouter(options);
  SKV_RETURN_IF_ERROR(AddFlags("--router-flag", options.router_flags, &plan.router));
  plan.router_port = options.port;
  plan.ports = {{"router's gRPC", options.host, options.port},
                {"router's metrics", options.host, plan.router.admin_port}};
  SKV_RETURN_IF_ERROR(AddStore(options, &plan));
  for (int group = 0; group < options.num_groups; ++group) {
    plan.groups.emplace_back();
    plan.ports.push_back({absl::StrCat("gRPC of group ", group), kLoopback,
                          options.port + kGroupPortOffset + group});
    for (int rank = 0; rank < options.tensor_parallel_size; ++rank) {
      ProcessPlan process = PlanRank(options, threads, group, rank);
      SKV_RETURN_IF_ERROR(AddFlags("--worker-flag", options.worker_flags, &process));
      plan.ports.push_back(
          {absl::StrCat("metrics of ", process.name), kLoopback, process.admin_port});
      plan.groups.back().push_back(std::move(process));
    }
  }
  return plan;
}

}  // namespace skv::cli
