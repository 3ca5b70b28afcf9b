#include "kvstore/server/tier_setup.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"
#include "kvstore/tier/guarded_tier.h"
#include "kvstore/tier/open_tier.h"

namespace skv::kvstore {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kArenasInNvme = 4;
constexpr double kShareOfDisk = 0.6;
// Of a limited rate, what one call writes at most: a block takes two writes there, and a call must
// end well within its time.
constexpr int64_t kWritesPerSecond = 8;
constexpr Duration kMaxRedisWait = std::chrono::milliseconds(500);

uint64_t BytesOfFiles(const std::string& folder) {
  uint64_t num_bytes = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator file(folder, error), end; !error && file != end;
       file.increment(error)) {
    std::error_code no_size;  // gone since
    const uintmax_t size = file->file_size(no_size);
    if (!no_size) num_bytes += size;
  }
  return num_bytes;
}

absl::Status CheckFlags(const TierFlags& flags) {
  const auto check = [](const char* flag, int64_t value, int64_t min) {
    if (value == 0 || value >= min) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(flag, " is ", value, ", expected 0 or at least ", min));
  };
  const auto is_needed = [](const char* flag, const char* other) {
    return absl::InvalidArgumentError(absl::StrCat(flag, ": it is of no use without ", other));
  };
  SKV_RETURN_IF_ERROR(check("--nvme-bytes", flags.nvme_bytes, kMinNvmeCapacityBytes));
  SKV_RETURN_IF_ERROR(
      check("--nvme-write-bytes-per-second", flags.nvme_write_bytes_per_second, kMinNvmeWriteRate));
  if (flags.nvme_folder.empty() && flags.nvme_bytes > 0) {
    return is_needed("--nvme-bytes", "--nvme-folder");
  }
  if (flags.redis.empty() && !flags.redis_password_file.empty()) {
    return is_needed("--redis-password-file", "--redis");
  }
  return absl::OkStatus();
}

absl::StatusOr<TierSetup> OpenNvme(const TierFlags& flags, uint64_t arena_bytes,
                                   Duration call_time) {
  NvmeTierOptions options{
      .folder = flags.nvme_folder,
      .capacity_bytes = static_cast<uint64_t>(flags.nvme_bytes),
      .write_bytes_per_second = static_cast<uint64_t>(flags.nvme_write_bytes_per_second)};
  if (options.capacity_bytes == 0) {
    SKV_ASSIGN_OR_RETURN(options.capacity_bytes, DefaultNvmeBytes(flags.nvme_folder, arena_bytes));
  }
  SKV_ASSIGN_OR_RETURN(std::unique_ptr<Tier> tier, OpenNvmeTier(options));
  SKV_LOG(INFO) << "tier nvme: " << tier->gauges().num_blocks << " blocks, room for "
                << (options.capacity_bytes >> 20) << " MiB in " << flags.nvme_folder;
  TierSetup setup = Guarded(std::move(tier), call_time);
  if (flags.nvme_write_bytes_per_second > 0) {
    setup.mover.max_write_bytes =
        std::min(setup.mover.max_write_bytes,
                 static_cast<size_t>(flags.nvme_write_bytes_per_second / kWritesPerSecond));
  }
  return setup;
}

absl::StatusOr<TierSetup> OpenRedis(const TierFlags& flags, Duration call_time) {
  const RedisTierOptions options{.address = flags.redis,
                                 .username = flags.redis_username,
                                 .password_file = flags.redis_password_file,
                                 .database = flags.redis_database,
                                 .timeout = std::min(call_time, kMaxRedisWait)};
  SKV_ASSIGN_OR_RETURN(std::unique_ptr<Tier> tier, OpenRedisTier(options));
  return Guarded(std::move(tier), call_time);
}

}  // namespace

TierSetup Guarded(std::unique_ptr<Tier> tier, Duration call_time) {
  TierSetup setup;
  setup.tier = std::make_unique<GuardedTier>(std::move(tier), RealClock());
  setup.mover.call_time = call_time;
  return setup;
}

absl::StatusOr<uint64_t> DefaultNvmeBytes(const std::string& folder, uint64_t arena_bytes) {
  struct statvfs disk = {};
  fs::path parent = fs::path(folder).parent_path();
  if (parent.empty()) parent = ".";
  if (statvfs(folder.c_str(), &disk) != 0 && statvfs(parent.c_str(), &disk) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("--nvme-folder: '", folder, "' is not there, nor is its parent; make one"));
  }
  const uint64_t usable = uint64_t{disk.f_bavail} * disk.f_frsize + BytesOfFiles(folder);
  const auto share = static_cast<uint64_t>(kShareOfDisk * static_cast<double>(usable));
  return std::max(std::min(kArenasInNvme * arena_bytes, share), kMinNvmeCapacityBytes);
}

absl::StatusOr<std::vector<TierSetup>> OpenTiers(const TierFlags& flags, uint64_t arena_bytes) {
  SKV_RETURN_IF_ERROR(CheckFlags(flags));
  const Duration call_time = std::chrono::milliseconds(flags.timeout_ms);
  std::vector<TierSetup> tiers;
  if (!flags.nvme_folder.empty()) {
    absl::StatusOr<TierSetup> nvme = OpenNvme(flags, arena_bytes, call_time);
    SKV_RETURN_IF_ERROR(Annotate(nvme.status(), "--nvme-folder"));
    tiers.push_back(*std::move(nvme));
  }
  if (!flags.redis.empty()) {
    absl::StatusOr<TierSetup> redis = OpenRedis(flags, call_time);
    SKV_RETURN_IF_ERROR(Annotate(redis.status(), "--redis"));
    tiers.push_back(*std::move(redis));
  }
  return tiers;
}

}  // namespace skv::kvstore
