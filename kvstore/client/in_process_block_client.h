#pragma once
// A client with a store of its own in this process, for a worker without skv-kvstore. Blocks are
// seen by this client only, whatever the size of the worker's group: to its store each rank is a
// group of one. Nothing ever waits, so deadlines do not matter, and the session is never lost.
//
// The memory is anonymous; it is committed as blocks are first written and given back when client
// and handles are gone.

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "common/block_key.h"
#include "kvstore/client/block_client.h"

namespace skv::kvstore {

struct InProcessClientOptions {
  uint64_t capacity_bytes = 0;  // headers included; at least 64
  LayoutId layout;
};

// InvalidArgument: the capacity. ResourceExhausted: the mapping is refused.
absl::StatusOr<std::unique_ptr<BlockClient>> CreateInProcessBlockClient(
    const InProcessClientOptions& options);

}  // namespace skv::kvstore
