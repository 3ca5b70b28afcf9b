#pragma once
// The tiers that this build has (CMake's SKV_WITH_ROCKSDB and SKV_WITH_REDIS).
//
// Unimplemented, of both: built without it.

#include <memory>

#include "absl/status/statusor.h"
#include "kvstore/tier/tier.h"
#include "kvstore/tier/tier_options.h"

namespace skv::kvstore {

// "nvme": blocks in a folder, by RocksDB (rocksdb_tier.h).
absl::StatusOr<std::unique_ptr<Tier>> OpenNvmeTier(const NvmeTierOptions& options);

// "redis": blocks in a Redis or Valkey that hosts share (redis_tier.h). Connects with the first
// call, so that a server which is down does not keep a store from starting.
absl::StatusOr<std::unique_ptr<Tier>> OpenRedisTier(const RedisTierOptions& options);

}  // namespace skv::kvstore
