#pragma once
// Which sealed entry goes first. Knows ids, sizes and uses; what may not go (leased, pinned, with
// resident children) it asks its owner, the entry table. Pure and deterministic; not thread-safe.
//
// Entries lie in partitions, each ordered for itself: one for all tenants without a quota, one for
// each tenant with its own.
//
// Cost: nothing walks all entries. An entry that is met while blocked is parked, off its queue,
// and met again only after Unblock; so each step of PopVictim is paid by one Insert, Touch or
// Unblock before it, and PopVictim is amortised O(1). A single call takes at most `max_steps`.

#include <cstdint>
#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"

namespace skv::kvstore {

using EntryIdx = uint32_t;  // dense, below OrderOptions.max_entries

struct OrderOptions {
  uint32_t max_entries = 0;
  uint32_t num_partitions = 1;
  int max_steps = 1 << 16;  // of one PopVictim: a few ms; longer than any chain
};

struct OrderedEntry {
  EntryIdx id = 0;
  uint64_t key_hash = 0;  // the same whenever the same key returns
  int64_t bytes = 0;
  uint32_t partition = 0;
};

struct OrderGauges {
  uint64_t num_entries = 0;
  uint64_t num_parked = 0;
  uint64_t num_ghosts = 0;  // keys remembered after their eviction
  uint64_t max_ghosts = 0;
};

class EvictionOrder {
 public:
  virtual ~EvictionOrder() = default;

  // REQUIRES: the id is not in the order.
  virtual void Insert(const OrderedEntry& entry) = 0;

  // One use of a whole chain, its root first. REQUIRES: all are in the order.
  virtual void Touch(absl::Span<const EntryIdx> chain) = 0;

  // The entry may go from now on; call it whenever that becomes so. REQUIRES: it is in the order.
  virtual void Unblock(EntryIdx id) = 0;

  // Takes an entry out that goes for another reason. REQUIRES: it is in the order.
  virtual void Erase(EntryIdx id) = 0;

  // Takes out the entry of `partition` that goes first among those not blocked. nullopt when there
  // is none, or none within max_steps: what was met is parked, so a later call gets further.
  virtual std::optional<EntryIdx> PopVictim(uint32_t partition,
                                            absl::FunctionRef<bool(EntryIdx)> is_blocked) = 0;

  // Whether PopVictim would meet anything: false when all of the partition is parked or gone.
  virtual bool MeetsAny(uint32_t partition) const = 0;

  virtual OrderGauges gauges() const = 0;
};

}  // namespace skv::kvstore
