#pragma once
// The tiers that a process is told to have.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "kvstore/tier/tier.h"
#include "kvstore/tiering/tiering.h"

namespace skv::kvstore {

// As the flags of skv-kvstore say.
struct TierFlags {
  std::string nvme_folder;                  // empty: no such tier
  int64_t nvme_bytes = 0;                   // 0: DefaultNvmeBytes
  int64_t nvme_write_bytes_per_second = 0;  // 0: as fast as it goes
  std::string redis;                        // address; empty: no such tier
  std::string redis_username;
  std::string redis_password_file;
  int redis_database = 0;
  int timeout_ms = 1000;  // of one call of a tier
  int64_t scrub_bytes_per_second = 64 << 20;
};
inline constexpr int64_t kMinNvmeWriteRate = 16 << 20;

// Four times the arena, but at most 60 % of what the disk of `folder` has free or the folder itself
// uses, so that the files of the tier, which take up to 1.3 times its capacity, leave a fifth of
// it. `folder` need not exist, its parent must. FailedPrecondition: neither can be looked at.
absl::StatusOr<uint64_t> DefaultNvmeBytes(const std::string& folder, uint64_t arena_bytes);

// Guarded against being asked again and again while it fails; `call_time` is that of one call.
TierSetup Guarded(std::unique_ptr<Tier> tier, Duration call_time);

// Opened, and guarded; fastest first.
// InvalidArgument: flags that do not go together, or out of range. Others as open_tier.h says.
absl::StatusOr<std::vector<TierSetup>> OpenTiers(const TierFlags& flags, uint64_t arena_bytes);

}  // namespace skv::kvstore
