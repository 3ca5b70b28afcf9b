// skv-router: the cluster's front door.

#include <CLI/CLI.hpp>
#include <iostream>
#include <string>

#include "common/version.h"
#include "router/router_process.h"

int main(int argc, char** argv) {
  skv::router::RouterProcessOptions options;
  CLI::App app("Front door of a cluster: tokenises, picks a worker group, relays", "skv-router");
  app.set_version_flag("--version", "skv " + std::string(skv::Version()));
  app.set_config("--config", "", "Flags from a file, one name = value a line");
  const auto add = [&app](const char* flag, auto& value, const char* help) {
    std::string environment = "SKV_";
    for (const char* c = flag + 2; *c != 0; ++c) {
      environment += *c == '-' ? '_' : static_cast<char>(std::toupper(*c));
    }
    return app.add_option(flag, value, help)->envname(environment)->capture_default_str();
  };
  add("--worker-urls", options.worker_urls, "Leaders of the worker groups, host:port,...")
      ->delimiter(',');
  add("--worker-file", options.worker_file, "File with one host:port a line, read as it changes");
  add("--policy", options.policy, "least_outstanding_tokens or round_robin");
  add("--host", options.host, "Address to listen on");
  add("--port", options.port, "gRPC port; 0: any")->check(CLI::Range(0, 65535));
  add("--admin-port", options.admin_port, "HTTP port for metrics and health; 0: any")
      ->check(CLI::Range(0, 65535));
  add("--max-concurrent-requests", options.max_concurrent_requests,
      "Requests in flight; more are refused")
      ->check(CLI::Range(1, 1 << 20));
  add("--retry-max-retries", options.max_retries, "Further groups to try before the first token")
      ->check(CLI::Range(0, 100));
  add("--health-check-interval-secs", options.health_check_interval_secs,
      "Time between probes of a group")
      ->check(CLI::Range(0.05, 3600.0));
  add("--stall-timeout-secs", options.stall_timeout_secs,
      "A group without a sign of life for so long loses its streams")
      ->check(CLI::Range(0.1, 3600.0));
  add("--drain-timeout-secs", options.drain_timeout_secs, "Time for running requests after SIGTERM")
      ->check(CLI::Range(0, 86400));
  add("--max-client-buffer-bytes", options.max_client_buffer_bytes,
      "Bytes that may wait for a slow client before it is cancelled")
      ->check(CLI::Range(1024, 1 << 30));
  app.footer(
      "Examples:\n"
      "  skv-router --worker-urls 127.0.0.1:8100,127.0.0.1:8101 --port 8000\n"
      "  skv-router --worker-file workers.txt --policy round_robin\n"
      "Every flag is also read from the environment, e.g. SKV_MAX_CONCURRENT_REQUESTS.");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = skv::router::RunRouter(options);
  if (status.ok()) return 0;
  std::cerr << "skv-router: " << status.ToString() << std::endl;
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) ? 2 : 1;
}
