#include <arpa/inet.h>

#include <csignal>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/signals.h"
#include "common/status.h"
#include "tools/cli/cluster/supervisor.h"
#include "tools/cli/command.h"
#include "tools/cli/default_model.h"

namespace skv::cli {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(50);

struct UpOptions {
  ClusterOptions cluster{.model_path = kDefaultModelPath, .log_dir = "build/cluster"};
  int ready_timeout_secs = 120;
  int stop_timeout_secs = 90;
  bool json = false;
};

void PrintEndpoints(const Supervisor& supervisor, const UpOptions& options, double seconds) {
  const ClusterPlan& plan = supervisor.plan();
  const std::string endpoint = absl::StrCat(plan.router.admin_host, ":", plan.router_port);
  const std::vector<pid_t> pids = supervisor.pids();
  nlohmann::ordered_json processes;
  size_t next = 0;
  const auto add = [&](const ProcessPlan& process) {
    processes.push_back({{"name", process.name},
                         {"pid", next < pids.size() ? pids[next] : 0},
                         {"metrics", absl::StrCat("http://", process.admin_host, ":",
                                                  process.admin_port, "/metrics")},
                         {"log", process.child.log_path}});
    ++next;
  };
  add(plan.router);
  for (const auto& group : plan.groups) {
    for (const ProcessPlan& rank : group) add(rank);
  }
  if (plan.kvstore) add(*plan.kvstore);
  if (options.json) {
    std::cout << nlohmann::ordered_json{{"endpoint", endpoint}, {"processes", processes}}.dump()
              << std::endl;
    return;
  }
  std::cout << "cluster is ready after " << seconds << " s: " << plan.groups.size()
            << " group(s) of " << plan.groups[0].size() << " rank(s)\n  gRPC endpoint  " << endpoint
            << "\n";
  for (const auto& process : processes) {
    std::cout << "  " << process["name"].get<std::string>() << "  pid " << process["pid"] << "  "
              << process["metrics"].get<std::string>() << "\n";
  }
  std::cout << "  logs in " << options.cluster.log_dir << "; stop with Ctrl-C" << std::endl;
}

absl::Status CheckOptions(const ClusterOptions& options) {
  in_addr ignored;
  if (inet_pton(AF_INET, options.host.c_str(), &ignored) != 1) {
    return absl::InvalidArgumentError(absl::StrCat("--host: got \"", options.host,
                                                   "\", expected an IPv4 address such as 0.0.0.0"));
  }
  if (!std::filesystem::exists(options.model_path)) {
    return absl::NotFoundError(absl::StrCat(
        "--model ", options.model_path, ": no such file; `skv model fetch` gets the default one"));
  }
  SKV_RETURN_IF_ERROR(server::Validate(options.kv_policies));
  std::error_code error;
  std::filesystem::create_directories(options.log_dir, error);
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat("--log-dir ", options.log_dir, ": ", error.message()));
  }
  return absl::OkStatus();
}

// Watches until a signal; prints the endpoints once, when all is ready.
absl::Status Serve(const UpOptions& options, Supervisor* supervisor, SignalWaiter* signals) {
  const TimePoint start = RealClock().Now();
  bool announced = false;
  while (!signals->WaitFor(kPoll)) {
    SKV_RETURN_IF_ERROR(supervisor->Watch());
    if (announced) continue;
    const double seconds = ToSeconds(RealClock().Now() - start);
    if (supervisor->IsReady()) {
      PrintEndpoints(*supervisor, options, seconds);
      announced = true;
    } else if (seconds > options.ready_timeout_secs) {
      return absl::DeadlineExceededError(
          absl::StrCat("the cluster is not ready after ", options.ready_timeout_secs,
                       " s (--ready-timeout-secs); logs are in ", options.cluster.log_dir));
    }
  }
  return absl::OkStatus();
}

absl::Status Up(UpOptions options) {
  SetLogName("cluster");
  options.cluster.binary_dir = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  SKV_RETURN_IF_ERROR(CheckOptions(options.cluster));
  SKV_ASSIGN_OR_RETURN(
      ClusterPlan plan,
      PlanCluster(options.cluster, static_cast<int>(std::thread::hardware_concurrency())));
  SignalWaiter signals;
  Supervisor supervisor(std::move(plan));
  SKV_RETURN_IF_ERROR(supervisor.Start());
  const absl::Status status = Serve(options, &supervisor, &signals);
  if (!options.json) std::cerr << "stopping the cluster" << std::endl;
  // A second signal: at once.
  supervisor.Stop(RealClock().Now() + std::chrono::seconds(options.stop_timeout_secs),
                  [&signals] { return signals.WaitFor(std::chrono::milliseconds(0)); });
  return status;
}

}  // namespace

Command AddClusterCommand(Flags* program) {
  auto options = std::make_shared<UpOptions>();
  ClusterOptions& cluster = options->cluster;
  Flags& flags =
      program->AddCommand("cluster", "A whole cluster on this machine")
          .AddCommand("up", "Start router and workers, restart what ends, stop all on Ctrl-C");
  flags.Add("groups", &cluster.num_groups, IntRange{1, 100}, "Worker groups");
  flags.Add("tp", &cluster.tensor_parallel_size, IntRange{1, 64}, "Tensor-parallel ranks a group");
  flags.Add("model", &cluster.model_path, "GGUF file");
  flags.Add("port", &cluster.port, IntRange{1, 65000},
            "Router's gRPC port, its metrics one above, those of --kvstore two and its gRPC three; "
            "groups' gRPC from 30 above, ranks' metrics from 130 above");
  flags.Add("host", &cluster.host,
            "IPv4 address that the router listens on; workers stay on loopback");
  flags.Add("threads", &cluster.threads_per_rank, IntRange{0, 1024},
            "Threads of a rank; 0 shares out the cores");
  flags.Add("log-dir", &cluster.log_dir, "Folder of the processes' logs");
  server::AddPolicyFlags(&cluster.kv_policies, &flags);
  flags.Add("worker-flag", &cluster.worker_flags,
            "Flags for every skv-worker, e.g. --worker-flag=--max-num-seqs=8; several with commas");
  flags.Add("router-flag", &cluster.router_flags, "Flags for skv-router");
  flags.Add("kvstore", &cluster.kvstore,
            "Start a skv-kvstore too, where all workers keep cached prefixes: they share them, and "
            "a worker that is restarted finds them again");
  flags.Add("kvstore-flag", &cluster.kvstore_flags,
            "Flags for skv-kvstore, e.g. --kvstore-flag=--arena-bytes=4294967296");
  flags.Add("ready-timeout-secs", &options->ready_timeout_secs, IntRange{1, 86400},
            "Give up after so long");
  flags.Add("stop-timeout-secs", &options->stop_timeout_secs, IntRange{1, 86400},
            "Kill what has not ended by then");
  flags.Add("json", &options->json, "Print one JSON object when ready");
  flags.SetExamples(
      "  skv cluster up --tp 2                one group of two ranks\n"
      "  skv cluster up --groups 2 --port 9000\n"
      "  skv cluster up --groups 2 --kvstore --kvstore-flag=--arena-bytes=4294967296\n"
      "  skv cluster up --kv-policy sentencekv --max-capacity-prompts 2048");
  return {&flags, [options] { return Up(*options); }};
}

}  // namespace skv::cli
