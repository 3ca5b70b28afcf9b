#pragma once
// A place below the arena where blocks outlive it: a disk, a server that hosts share. What it keeps
// are whole blocks, header and payload (kvstore/block), under the names that they have in the
// index. It may lose any of them, and whoever gets one checks it as if a stranger had sent it.
//
// One thread calls at a time, and calls may take until `deadline`; gauges from any thread.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "kvstore/index/entry_key.h"

namespace skv::kvstore {

// The block of one rank of an entry.
struct TierKey {
  EntryKey entry;
  uint32_t rank = 0;
  bool operator==(const TierKey&) const = default;
};

// A block that is read where the tier has put it.
struct TierValue {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  // of the bytes
};

struct TierBlock {
  TierKey key;
  std::span<const std::byte> bytes;
};

// A snapshot; totals are since the start.
struct TierGauges {
  bool is_on = false;
  uint64_t num_blocks = 0;      // 0 where the tier does not know
  uint64_t num_bytes = 0;       // likewise
  uint64_t capacity_bytes = 0;  // 0: the tier's own affair
  uint64_t num_hits = 0, num_misses = 0;
  uint64_t num_written_blocks = 0, num_written_bytes = 0;
  uint64_t num_read_bytes = 0;
  uint64_t num_evicted_blocks = 0;
  uint64_t num_failures = 0;  // calls
};

// Unavailable, of all calls: the tier cannot be reached, or took too long; it may be back later.
class Tier {
 public:
  static constexpr size_t kMaxBatch = 64;  // keys, or blocks, of one call

  virtual ~Tier() = default;

  virtual std::string_view name() const = 0;  // for metrics and logs: "nvme", "redis"

  // One result for each key, in order. NotFound: it is not there. DataLoss: it was, but the tier
  // itself found it damaged, has said so in the log, and has it no more.
  virtual absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> Get(std::span<const TierKey> keys,
                                                                     TimePoint deadline) = 0;

  // Blocks that are there are written again, or not: equal keys mean equal bytes.
  // ResourceExhausted: no room, whatever is dropped. DeadlineExceeded: the tier is behind with what
  // it was given before, and should be tried again in a while. Some may be written all the same.
  virtual absl::Status Put(std::span<const TierBlock> blocks, TimePoint deadline) = 0;

  // Damaged, say. Those that are not there are no error. Errors as those of Put, but it never waits
  // for a tier that is behind.
  virtual absl::Status Erase(std::span<const TierKey> keys, TimePoint deadline) = 0;

  virtual TierGauges gauges() const = 0;
};

}  // namespace skv::kvstore
