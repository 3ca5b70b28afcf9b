#include "kvstore/tier/open_tier.h"

#if SKV_WITH_ROCKSDB
#include "kvstore/tier/rocksdb_tier.h"
#endif
#if SKV_WITH_REDIS
#include "kvstore/tier/redis_tier.h"
#endif

namespace skv::kvstore {

absl::StatusOr<std::unique_ptr<Tier>> OpenNvmeTier(const NvmeTierOptions& options) {
#if SKV_WITH_ROCKSDB
  return OpenRocksDbTier(options);
#else
  return absl::UnimplementedError(
      "nvme tier: this program was built without RocksDB (CMake's SKV_WITH_ROCKSDB)");
#endif
}

absl::StatusOr<std::unique_ptr<Tier>> OpenRedisTier(const RedisTierOptions& options) {
#if SKV_WITH_REDIS
  return OpenHiredisTier(options);
#else
  return absl::UnimplementedError(
      "redis tier: this program was built without hiredis (CMake's SKV_WITH_REDIS)");
#endif
}

}  // namespace skv::kvstore
