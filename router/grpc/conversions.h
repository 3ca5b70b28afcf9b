#pragma once
// skv.v1 messages to and from the router's plain structs.

#include "absl/status/statusor.h"
#include "grpcpp/support/byte_buffer.h"
#include "router/admission/request.h"
#include "router/event.h"
#include "skv/v1/generation.pb.h"

namespace skv::router {

inline constexpr size_t kMaxRequestBytes = size_t{16} << 20;

// InvalidArgument: more than kMaxRequestBytes, no message of that type, or text that is not UTF-8;
// the latter with the field named.
absl::StatusOr<skv::v1::GenerateRequest> ParseGenerateRequest(const grpc::ByteBuffer& buffer);

Request FromProto(skv::v1::GenerateRequest&& request);
skv::v1::GenerateEvent ToProto(Event&& event);

}  // namespace skv::router
