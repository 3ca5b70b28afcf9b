#pragma once
// What administration answers, as messages.

#include "absl/status/status.h"
#include "grpcpp/support/status.h"
#include "kvstore/server/store_admin.h"
#include "kvstore/tiering/tiering.h"
#include "skv/kvstore/v1/kvstore.pb.h"

namespace skv::kvstore {

// With the same code and message.
grpc::Status ToGrpcStatus(const absl::Status& status);

v1::Entry ToProto(const EntryInfo& entry, std::string_view tenant, TimePoint now);

// What the store says of itself; limits and what concerns Watch are the caller's to add.
v1::Stats ToProto(const StoreStats& stats);

v1::TierStats ToProto(const TierStatus& tier);

v1::VerifyResponse ToProto(const Verification& verification);

}  // namespace skv::kvstore
