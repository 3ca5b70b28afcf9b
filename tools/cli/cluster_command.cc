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

struct UpFlags {
  ClusterOptions cluster{.model_path = kDefaultModelPath, .log_dir = "build/cluster"};
  int ready_timeout_secs = 120;
  int stop_timeout_secs = 90;
  bool json = false;
};

void PrintEndpoints(const Supervisor& supervisor, const UpFlags& flags, double seconds) {
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
  if (flags.json) {
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
  std::cout << "  logs in " << flags.cluster.log_dir << "; stop with Ctrl-C" << std::endl;
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
  std::error_code error;
  std::filesystem::create_directories(options.log_dir, error);
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat("--log-dir ", options.log_dir, ": ", error.message()));
  }
  return absl::OkStatus();
}

// Watches until a signal; prints the endpoints once, when all is ready.
absl::Status Serve(const UpFlags& flags, Supervisor* supervisor, SignalWaiter* signals) {
  const TimePoint start = RealClock().Now();
  bool announced = false;
  while (!signals->WaitFor(kPoll)) {
    SKV_RETURN_IF_ERROR(supervisor->Watch());
    if (announced) continue;
    const double seconds = ToSeconds(RealClock().Now() - start);
    if (supervisor->IsReady()) {
      PrintEndpoints(*supervisor, flags, seconds);
      announced = true;
    } else if (seconds > flags.ready_timeout_secs) {
      return absl::DeadlineExceededError(
          absl::StrCat("the cluster is not ready after ", flags.ready_timeout_secs,
                       " s (--ready-timeout-secs); logs are in ", flags.cluster.log_dir));
    }
  }
  return absl::OkStatus();
}

absl::Status Up(UpFlags flags) {
  SetLogName("cluster");
  flags.cluster.binary_dir = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  SKV_RETURN_IF_ERROR(CheckOptions(flags.cluster));
  SignalWaiter signals;
  Supervisor supervisor(
      PlanCluster(flags.cluster, static_cast<int>(std::thread::hardware_concurrency())));
  SKV_RETURN_IF_ERROR(supervisor.Start());
  const absl::Status status = Serve(flags, &supervisor, &signals);
  if (!flags.json) std::cerr << "stopping the cluster" << std::endl;
  // A second signal: at once.
  supervisor.Stop(RealClock().Now() + std::chrono::seconds(flags.stop_timeout_secs),
                  [&signals] { return signals.WaitFor(std::chrono::milliseconds(0)); });
  return status;
}

}  // namespace

void AddClusterCommand(CLI::App* app, Action* action) {
  CLI::App* const command = app->add_subcommand("cluster", "A whole cluster on this machine");
  command->require_subcommand(1);
  CLI::App* const up = command->add_subcommand(
      "up", "Start router and workers, restart what ends, stop all on Ctrl-C");
  auto flags = std::make_shared<UpFlags>();
  up->add_option("--groups", flags->cluster.num_groups, "Worker groups")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  up->add_option("--tp", flags->cluster.tensor_parallel_size, "Tensor-parallel ranks a group")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  up->add_option("--model", flags->cluster.model_path, "GGUF file")
      ->envname("SKV_MODEL")
      ->capture_default_str();
  up->add_option("--port", flags->cluster.port,
                 "Router's gRPC port; the ports up to 200 above it are used too")
      ->check(CLI::Range(1, 65000))
      ->capture_default_str();
  up->add_option("--host", flags->cluster.host,
                 "IPv4 address that the router listens on; workers stay on loopback")
      ->capture_default_str();
  up->add_option("--threads", flags->cluster.threads_per_rank,
                 "Threads of a rank; 0 shares out the cores")
      ->check(CLI::Range(0, 1024));
  up->add_option("--log-dir", flags->cluster.log_dir, "Folder of the processes' logs")
      ->capture_default_str();
  up->add_option("--worker-flag", flags->cluster.worker_flags,
                 "Flag for every skv-worker, e.g. --worker-flag=--max-num-seqs=8");
  up->add_option("--router-flag", flags->cluster.router_flags, "Flag for skv-router");
  up->add_option("--ready-timeout-secs", flags->ready_timeout_secs, "Give up after so long")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  up->add_option("--stop-timeout-secs", flags->stop_timeout_secs, "Kill what has not ended by then")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  up->add_flag("--json", flags->json, "Print one JSON object when ready");
  up->footer(
      "Examples:\n"
      "  skv cluster up --tp 2                one group of two ranks\n"
      "  skv cluster up --groups 2 --port 9000");
  up->callback([flags, action] { *action = [flags] { return Up(*flags); }; });
}

}  // namespace skv::cli
