#pragma once
// Between the messages of Watch and their plain structs.

#include "absl/status/statusor.h"
#include "kvstore/watch/watch_message.h"
#include "skv/kvstore/v1/kvstore.pb.h"

namespace skv::kvstore {

v1::Key ToProto(const EntryKey& key);
// InvalidArgument: a part of another length than 16 bytes.
absl::StatusOr<EntryKey> FromProto(const v1::Key& key);

v1::WatchRequest ToProto(const WatchPosition& position);
// One without an epoch asks for a snapshot. InvalidArgument: an epoch of another length.
absl::StatusOr<WatchPosition> FromProto(const v1::WatchRequest& request);

v1::WatchResponse ToProto(const WatchMessage& message);
// InvalidArgument: no body, a wrong length, or an event of an unknown kind.
absl::StatusOr<WatchMessage> FromProto(const v1::WatchResponse& response);

}  // namespace skv::kvstore
