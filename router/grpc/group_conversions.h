#pragma once
// skv.worker.v1 messages to and from the router's plain structs.

#include "absl/status/status.h"
#include "grpcpp/support/status.h"
#include "router/membership/group_client.h"
#include "skv/worker/v1/worker.pb.h"

namespace skv::router {

namespace worker_pb = ::skv::worker::v1;

// The same code and message; both number their codes alike.
absl::Status ToAbslStatus(const grpc::Status& status);
grpc::Status ToGrpcStatus(const absl::Status& status);

worker_pb::GenerateRequest ToProto(const GroupRequest& request);
GroupEvent FromProto(worker_pb::GenerateEvent&& event);
ModelInfo FromProto(worker_pb::ModelInfo&& info);
LoadReport FromProto(const worker_pb::LoadReport& report);

}  // namespace skv::router
