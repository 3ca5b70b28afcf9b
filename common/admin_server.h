#pragma once
// A small HTTP server for operators and their machines:
//   /livez, /health  200 while `is_live` is OK: this process is worth keeping
//   /readyz          200 while it is live and `is_ready` is OK: send it requests
//   /metrics         Prometheus text
//   /version         {"version":"0.1.0","pid":123}: also which process it is that answers
// Anything but 200 says why in the body. One thread; one request a connection; whatever a client
// does costs at most a connection for `request_timeout`, and the oldest one makes room when all are
// taken.

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/metrics.h"

namespace skv {

struct AdminServerOptions {
  std::string address = "127.0.0.1";  // an IP address; "0.0.0.0" to be reached from elsewhere
  int port = 0;                       // 0: any free one
  int max_connections = 64;
  std::chrono::milliseconds request_timeout{5'000};  // from accept to the last byte of the reply

  // All run on the server's thread, must not wait, and must stay callable while the server lives.
  // Left out, the state is OK, and there are no metrics.
  const Metrics* metrics = nullptr;
  std::function<absl::Status()> is_live;
  std::function<absl::Status()> is_ready;
};

class AdminServer {
 public:
  // Serving when this returns. InvalidArgument: no such address or port; Unavailable: port in use.
  static absl::StatusOr<std::unique_ptr<AdminServer>> Start(const AdminServerOptions& options);
  // Ends all connections and joins the thread.
  virtual ~AdminServer() = default;

  virtual int port() const = 0;
};

}  // namespace skv
