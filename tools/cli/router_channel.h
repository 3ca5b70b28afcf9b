#pragma once
// The way to a router or a block store, for the commands that ask one.

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace skv::cli {

// A connected channel to `endpoint`, host:port. Unavailable: nobody answers within 5 s.
absl::StatusOr<std::shared_ptr<grpc::Channel>> ConnectToRouter(const std::string& endpoint);
absl::StatusOr<std::shared_ptr<grpc::Channel>> ConnectToStore(const std::string& endpoint);

// With the same code and message.
absl::Status ToAbslStatus(const grpc::Status& status);

}  // namespace skv::cli
