#pragma once
// Where a rank keeps the blocks of its prompts, so that later ones find them: the host's
// skv-kvstore, or memory of this process.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/block_key.h"
#include "kvstore/client/block_client.h"

namespace skv::engine {

struct BlockStoreOptions {
  // Session socket of skv-kvstore. While nobody listens there, and when empty, blocks lie in this
  // process.
  std::string socket;
  uint64_t capacity_bytes = 0;  // of blocks in this process
  LayoutId layout;
  int rank = 0;
  int world_size = 1;
};

// InvalidArgument: the capacity. ResourceExhausted: memory is refused.
absl::StatusOr<std::unique_ptr<kvstore::BlockClient>> OpenBlockStore(
    const BlockStoreOptions& options);

}  // namespace skv::engine
