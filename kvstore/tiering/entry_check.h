#pragma once
// Whether the blocks of an entry are what their names say, checksums of the payloads included.

#include <cstddef>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/block/block_header.h"
#include "kvstore/tier/tier.h"
#include "kvstore/tiering/tier_desk.h"

namespace skv::kvstore {

// DataLoss: not one whole block, or not that of `key` in a group of `world_size`. `place` stands in
// front of every error. Costs one pass over the payload.
absl::StatusOr<ParsedBlock> CheckBlock(const TierKey& key, uint32_t world_size,
                                       std::span<const std::byte> bytes, std::string_view place);

// The same of all blocks of an entry in the arena.
absl::Status CheckEntry(const HeldEntry& entry);

}  // namespace skv::kvstore
