// skv-router: the cluster's front door.

#include <iostream>

#include "common/flags.h"
#include "router/router_process.h"

namespace skv::router {
namespace {

constexpr IntRange kAnyPort{0, 65535};

void AddFlags(RouterProcessOptions* options, Flags* flags) {
  flags->Add("worker-urls", &options->worker_urls, "Leaders of the worker groups, host:port,...");
  flags->Add("worker-file", &options->worker_file,
             "File with one host:port a line, read as it changes");
  flags->AddChoice("policy", &options->policy,
                   {"prefix_aware", "least_outstanding_tokens", "round_robin"},
                   "How a group is picked");
  flags->Add("prefix-index-max-keys", &options->prefix_index_max_keys, {1024, 1 << 28},
             "Prefixes of prompts that prefix_aware remembers, 32 bytes each at most");
  flags->Add("host", &options->host, "Address to listen on");
  flags->Add("port", &options->port, kAnyPort, "gRPC port; 0: any");
  flags->Add("admin-port", &options->admin_port, kAnyPort,
             "HTTP port of metrics and health; 0: any");
  flags->Add("max-concurrent-requests", &options->max_concurrent_requests, {1, 1 << 20},
             "Requests in flight; more are refused");
  flags->Add("retry-max-retries", &options->max_retries, {0, 100},
             "Further groups to try before the first token");
  flags->Add("max-migrations", &options->max_migrations, {0, 100},
             "Times that a sample may go on with another group after the first token; 0: never");
  flags->Add(
      "migration-wait-ms", &options->migration_wait_ms, {0, 3'600'000},
      "Time that a stream whose group was lost waits for one, e.g. to restart, where no other "
      "is left; 0: it ends at once");
  flags->Add("max-waiting-streams", &options->max_waiting_streams, {1, 1 << 20},
             "Streams that may wait so at once; more end. They keep their places in "
             "--max-concurrent-requests");
  flags->Add("health-check-interval-secs", &options->health_check_interval_secs, {0.05, 3600},
             "Time between probes of a group, at most half of --stall-timeout-secs");
  flags->Add("stall-timeout-secs", &options->stall_timeout_secs, {0.1, 3600},
             "A group without a sign of life for so long loses its streams; noticed after this and "
             "1.25 intervals at most: over 5 s warns at start");
  flags->Add("drain-timeout-secs", &options->drain_timeout_secs, {0, 86400},
             "Time for running requests after SIGTERM");
  flags->Add("max-client-buffer-bytes", &options->max_client_buffer_bytes, {1024, 1 << 30},
             "Bytes that may wait for a slow client before it is cancelled");
  flags->Add("max-receive-bytes", &options->max_receive_bytes,
             {int64_t{32} << 20, int64_t{1} << 40},
             "Memory for requests that gRPC is receiving; calls end where it runs short");
  flags->SetExamples(
      "  skv-router --worker-urls 127.0.0.1:8100,127.0.0.1:8101 --port 8000\n"
      "  skv-router --worker-file workers.txt --policy round_robin");
}

int Main(int argc, char** argv) {
  RouterProcessOptions options;
  Flags flags("skv-router", "Front door of a cluster: tokenises, picks a worker group, relays");
  AddFlags(&options, &flags);
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  const absl::Status status = RunRouter(options);
  if (status.ok()) return 0;
  std::cerr << "skv-router: " << status.ToString() << std::endl;
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) ? Flags::kUsageExitCode : 1;
}

}  // namespace
}  // namespace skv::router

int main(int argc, char** argv) { return skv::router::Main(argc, argv); }
