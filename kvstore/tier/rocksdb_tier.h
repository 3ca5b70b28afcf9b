#pragma once
// "nvme": blocks in a folder, kept by RocksDB in blob files.
//
// Order of eviction: first in, first out, but a block that was read since it came is written again
// at the back, once for each time that it is found read. Of each Put at most as many bytes are
// written again as it brings. So the oldest blob file always dies as a whole, and nothing is
// copied to collect garbage.
//
// Disk: files of blocks stay below 1.3 times the capacity, plus at most 4 memtables of log
// (MemtableBytes: 1/32 of the capacity, 64 MiB at most).
// Memory: 3 memtables, 8 MiB of cache, and at most 48 bytes a block (nvme_index.h).
// A crash of the process loses nothing that Put has returned OK for, one of the machine what the
// kernel had not written back yet; neither leaves half a block.
//
// Waits: a Put that the disk is behind of waits for it for kMaxStall in all, since reads wait for
// the Put, and is then DeadlineExceeded; an Erase does not wait. ResourceExhausted is one that the
// disk has no room for, or refuses: reads go on, and the Puts after it try whether it takes writes
// again. One call to a disk that hangs can take longer than the deadline. Get, of one key: DataLoss
// when the disk returns it damaged; it is forgotten. Values stay readable after later calls, and
// after the tier.

#include <chrono>
#include <memory>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "kvstore/tier/tier.h"
#include "kvstore/tier/tier_options.h"

namespace skv::kvstore {

inline constexpr Duration kMaxStall = std::chrono::milliseconds(50);

// Takes about a second for 10^6 blocks. A disk that is full, read-only, or fails, is no error:
// calls are Unavailable as long as it cannot be opened, which each of them tries. InvalidArgument:
// a capacity below kMinNvmeCapacityBytes. FailedPrecondition: another process has the folder, or it
// cannot be used.
absl::StatusOr<std::unique_ptr<Tier>> OpenRocksDbTier(const NvmeTierOptions& options);

}  // namespace skv::kvstore
