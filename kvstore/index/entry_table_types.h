#pragma once
// What goes into the entry table and comes out of it.

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/prefix_sample.h"
#include "kvstore/index/entry_key.h"
#include "kvstore/index/event_log.h"
#include "kvstore/index/eviction_order.h"
#include "kvstore/index/lease_table.h"
#include "kvstore/index/tenant_table.h"

namespace skv::kvstore {

struct EntryTableOptions {
  int64_t capacity_bytes = 0;  // of all shards together
  uint32_t max_entries = 1 << 20;
  uint32_t max_shards = 1 << 21;
  uint32_t max_pins = 4096;
  uint32_t max_tenants = 256;
  LeaseLimits leases;
  // Watch hears of the sealed entries that IsSampledPrefix names, and of the tips of chains.
  uint32_t watch_stride = kPrefixStride;

  // InvalidArgument names the field. max_shards, max_entries < 2^30; max_tenants <= 65536.
  absl::Status Validate() const;
  // What the table's eviction order needs to know.
  OrderOptions order() const { return {.max_entries = max_entries, .num_partitions = max_tenants}; }
};

// A block to be written. `bytes` as the arena counts them.
struct NewShard {
  EntryKey key;
  std::optional<PrefixKey> parent;  // the sentence before; nullopt: the first of a chain
  TenantIdx tenant = 0;
  uint32_t rank = 0;
  uint32_t world_size = 1;
  int64_t bytes = 0;
};

struct Created {
  enum class Outcome { kCreated, kInProgress, kExists };
  Outcome outcome = Outcome::kCreated;
  LeaseId lease;                    // kCreated: the writer's
  EntryIdx entry = 0;               // kCreated, and
  uint32_t shard = 0;               // its new shard, below max_shards: both name it until it goes
  std::optional<SessionId> writer;  // kInProgress: of this entry; nullopt: other ranks' to come
};

struct Hit {
  uint32_t num_entries = 0;
  LeaseId lease;  // on the last of them; none (a default handle) when there are none
};

struct ShardBytes {
  int64_t offset = 0;
  int64_t bytes = 0;
  bool operator==(const ShardBytes&) const = default;
};

// Placed memory that nobody may touch any more.
struct FreedShard {
  uint32_t shard = 0;  // as Created named it
  int64_t offset = 0;
  int64_t bytes = 0;
};

// What a call changed for others. Calls append; the caller clears.
struct Changes {
  std::vector<FreedShard> freed;
  std::vector<EntryEvent> events;   // for Watch
  std::vector<EntryKey> sealed;     // whoever waits for them can go on,
  std::vector<EntryKey> abandoned;  // or try to create them
  void Clear();
};

// What there is of one entry, for people. A snapshot.
struct EntryInfo {
  enum class State { kCreated, kSealed, kDropped };
  EntryKey key;
  std::optional<EntryKey> parent;  // nullopt: the first of its chain
  uint32_t depth = 0;              // sentences before it in its chain
  TenantIdx tenant = 0;
  State state = State::kCreated;
  uint32_t world_size = 1;    // shards that it has once it is sealed
  int64_t bytes = 0;          // of all its shards so far
  uint32_t num_leases = 0;    // its own
  uint32_t num_children = 0;  // dropped ones included
  std::optional<TimePoint> pinned_until;
  bool announced = false;  // Watch has heard of it
};

// One step of a purge.
struct Purged {
  uint32_t num_entries = 0;
  int64_t bytes = 0;
  bool is_done = false;  // nothing more can go for now
};

// A snapshot: what there is, beside its limit in EntryTableOptions.
struct EntryTableGauges {
  int64_t bytes = 0;         // sealed, being written and dropped
  int64_t leased_bytes = 0;  // of entries with a lease of their own; those above are held, too
  uint32_t num_entries = 0;
  uint32_t num_created = 0, num_sealed = 0, num_dropped = 0;  // add up to num_entries
  uint32_t num_leased = 0;                                    // entries with a lease of their own
  uint32_t num_shards = 0;
  uint32_t num_sessions = 0, num_leases = 0, num_pins = 0, num_tenants = 0;
  uint64_t num_evicted = 0;  // since the start
  OrderGauges order;
};

// InvalidArgument: "field is value, expected min to max".
absl::Status CheckRange(std::string_view field, int64_t value, int64_t min, int64_t max);

}  // namespace skv::kvstore
