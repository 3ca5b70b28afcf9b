#pragma once
// The router's gRPC front door: skv.v1 and grpc.health.v1 on one port. Health is SERVING while any
// worker group is healthy. Free of gRPC headers.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "router/router.h"

namespace skv::router {

struct GrpcServerOptions {
  std::string host = "127.0.0.1";
  int port = 0;  // 0: any free one
  // Events that may wait for one slow client before it is cancelled.
  size_t max_client_buffer_bytes = size_t{1} << 20;
  // A client that takes nothing of a finished answer for so long is cancelled.
  Duration delivery_timeout = std::chrono::seconds(30);
  // Memory for what gRPC has received, whole messages or parts, of all clients together. Where it
  // runs short, calls end with ResourceExhausted until it fits again. Rather above
  // max_waiting_bytes, which is in it. gRPC exceeds it by what comes in meanwhile: some percent.
  int64_t max_receive_bytes = int64_t{512} << 20;
  // Encoded requests that may wait for a tokenizer thread; more are refused.
  int64_t max_waiting_bytes = int64_t{256} << 20;
  int num_tokenizer_threads = 2;
};

class GrpcServer {
 public:
  virtual ~GrpcServer() = default;  // ends running calls

  // `router` and `clock` outlive the server. Unavailable: the address cannot be listened on, e.g.
  // because another process has the port.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const GrpcServerOptions& options,
                                                           Router* router, const Clock* clock);

  virtual int port() const = 0;

  // Health turns NOT_SERVING, then new requests are refused, then running ones may finish and their
  // clients read the answers within `timeout`; the rest is cancelled. True when none had to be.
  virtual bool Drain(Duration timeout) = 0;
};

}  // namespace skv::router
