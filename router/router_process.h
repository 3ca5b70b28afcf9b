#pragma once
// A skv-router process: wires membership, router, gRPC and admin servers, and runs until SIGTERM or
// SIGINT, then drains.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace skv::router {

struct RouterProcessOptions {
  std::vector<std::string> worker_urls;  // host:port; or
  std::string worker_file;               // a file with one a line, read again at every interval
  std::string policy = "prefix_aware";
  int prefix_index_max_keys = 10'000'000;  // of prefix_aware
  std::string host = "127.0.0.1";
  int port = 0;        // gRPC; 0: any free one
  int admin_port = 0;  // HTTP; 0: any free one
  int max_concurrent_requests = 1024;
  int max_retries = 3;
  int max_migrations = 3;
  int migration_wait_ms = 30'000;
  int max_waiting_streams = 1024;
  double health_check_interval_secs = 1;
  double stall_timeout_secs = 3;
  int drain_timeout_secs = 60;
  int max_client_buffer_bytes = 1 << 20;
  int64_t max_receive_bytes = int64_t{512} << 20;
};

// Writes "skv-router: gRPC on <host>:<port>" and "skv-router: metrics on http://..." to standard
// output once it serves. OK after a drain. InvalidArgument: flags that do not go together.
// Unavailable: a port is in use.
absl::Status RunRouter(const RouterProcessOptions& options);

}  // namespace skv::router
