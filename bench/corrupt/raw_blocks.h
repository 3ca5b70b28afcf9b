#pragma once
// The bytes of blocks as they lie in the arena, in RocksDB and in Redis, beneath all that checks
// them. Not thread-safe.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/block_key.h"

namespace skv::corrupt {

class RawBlocks {
 public:
  virtual ~RawBlocks() = default;

  // NotFound: no such block. DataLoss: the place itself cannot read it.
  virtual absl::StatusOr<std::string> Read(const PrefixKey& key) = 0;
  // `bit` as BlockSeries::BitOf. NotFound: no such block, or none so long.
  virtual absl::Status FlipBit(const PrefixKey& key, uint64_t bit) = 0;
};

// What a store's tier is to be told: how large RocksDB's files are follows from it.
inline constexpr uint64_t kNvmeBytes = uint64_t{1} << 30;

// Of a store that does not run. The errors of RocksDbDatabase::Open.
absl::StatusOr<std::unique_ptr<RawBlocks>> OpenNvmeBlocks(const std::string& folder);
// The errors of RedisConnection::Connect.
absl::StatusOr<std::unique_ptr<RawBlocks>> OpenRedisBlocks(const std::string& address);

}  // namespace skv::corrupt
