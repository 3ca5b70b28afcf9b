#pragma once
// A client of the skv-kvstore of this host.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/block_key.h"
#include "common/clock.h"
#include "kvstore/client/block_client.h"
#include "kvstore/session/session_socket.h"

namespace skv::kvstore {

struct SessionClientOptions {
  std::string client_name;  // for the store's log: 1 to 64 printable ASCII characters
  std::string tenant;       // whose quota is used; likewise, or empty: the common one
  LayoutId layout;
  int rank = 0;
  int world_size = 1;
};

// Connects to the socket at `path` and opens a session.
// Unavailable: nobody listens there. FailedPrecondition: no store's socket, or its arena is not
// safe to map. DeadlineExceeded: no Welcome came. InvalidArgument: the options, or what came
// instead of a Welcome. Or the store's refusal, with its code.
absl::StatusOr<std::unique_ptr<BlockClient>> ConnectSessionBlockClient(
    const std::string& path, const SessionClientOptions& options, TimePoint deadline);
// The same over a socket that is connected.
absl::StatusOr<std::unique_ptr<BlockClient>> OpenSessionBlockClient(
    SessionSocket socket, const SessionClientOptions& options, TimePoint deadline);

}  // namespace skv::kvstore
