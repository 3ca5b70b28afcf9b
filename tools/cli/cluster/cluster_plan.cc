#include "tools/cli/cluster/cluster_plan.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace skv::cli {
namespace {

constexpr int kGroupPortOffset = 30;
constexpr int kAdminPortOffset = 130;
// The file that configures the cluster has keys that its processes do not know.
constexpr char kNoConfig[] = "SKV_CONFIG=";
constexpr char kLoopback[] = "127.0.0.1";

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
  const std::vector<std::string> policies = server::ToArguments(options.kv_policies);
  plan.child.args.insert(plan.child.args.end(), policies.begin(), policies.end());
  plan.child.args.insert(plan.child.args.end(), options.worker_flags.begin(),
                         options.worker_flags.end());
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
  plan.child.args.insert(plan.child.args.end(), options.router_flags.begin(),
                         options.router_flags.end());
  return plan;
}

}  // namespace

ClusterPlan PlanCluster(const ClusterOptions& options, int num_cores) {
  const int num_ranks = options.num_groups * options.tensor_parallel_size;
  const int threads =
      options.threads_per_rank > 0 ? options.threads_per_rank : std::max(1, num_cores / num_ranks);
  ClusterPlan plan;
  plan.router = PlanRouter(options);
  plan.router_port = options.port;
  plan.ports = {options.port, plan.router.admin_port};
  for (int group = 0; group < options.num_groups; ++group) {
    plan.groups.emplace_back();
    plan.ports.push_back(options.port + kGroupPortOffset + group);
    for (int rank = 0; rank < options.tensor_parallel_size; ++rank) {
      plan.groups.back().push_back(PlanRank(options, threads, group, rank));
      plan.ports.push_back(plan.groups.back().back().admin_port);
    }
  }
  return plan;
}

}  // namespace skv::cli
