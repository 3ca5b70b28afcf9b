#pragma once
// The rows that one sequence keeps where attention reads them, on one rank: for each layer and KV
// head a number of slots of its own, into which what a generated row selects is copied from the
// sequence's blocks and pages, unless it lies there already (the device cache of
// docs/kv-policies.md in host memory). What is selected now is never evicted; of the rest the least
// recently selected goes first (kv/slot_table.h).
//
// Calls for different (layer, kv_head) may run at once on several threads.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/huge_bytes.h"
#include "worker/kv/sequence_cache.h"
#include "worker/kv/slot_pool.h"
#include "worker/kv/slot_table.h"

namespace skv::kv {

// What selections cost. A row is one token of one layer and KV head: its key and its value.
struct WorkingSetUse {
  int64_t hit_rows = 0;      // lay in their slots
  int64_t fetched_rows = 0;  // were copied
  // The row's own position, which its step has just computed: on a device it never leaves it.
  int64_t own_rows = 0;
  int64_t evicted_rows = 0;   // made room
  int64_t in_place_rows = 0;  // did not fit and are read where they lie

  WorkingSetUse& operator+=(const WorkingSetUse& other);
  bool operator==(const WorkingSetUse&) const = default;
};

class WorkingSet {
 public:
  // Empty, with `num_slots` > 0 slots for each layer and KV head of the pool's layout. The pool
  // outlives it. ResourceExhausted: the pool or the machine has no room.
  static absl::StatusOr<std::unique_ptr<WorkingSet>> Create(SlotPool* pool, int num_slots);
  ~WorkingSet();
  WorkingSet(const WorkingSet&) = delete;
  WorkingSet& operator=(const WorkingSet&) = delete;

  // Brings the rows of `positions` (ascending, each once, the last the selecting row's own) into
  // slots, where they stay until the next call for this layer and KV head. False, and the slots
  // keep what they hold, when these are too few.
  // REQUIRES: all positions are written in `cache`.
  bool Hold(int layer, int kv_head, std::span<const int> positions, const SequenceCache& cache);

  // Appends the runs of what was held last, in order of position.
  void AppendRuns(int layer, int kv_head, std::vector<KvRun>* runs) const;

  // Appends the runs of positions [begin, end), in order: in slots where these hold them, else
  // where they lie in `cache`. `in_place(first, last)` is called for each range of the latter.
  // REQUIRES: all of them are written in `cache`.
  void AppendHeldOrCached(int layer, int kv_head, int begin, int end, const SequenceCache& cache,
                          std::vector<KvRun>* runs,
                          absl::FunctionRef<void(int, int)> in_place) const;

  // What was not asked for yet, over all layers and KV heads. No other call may run.
  WorkingSetUse TakeUse();

  int num_slots() const { return num_slots_; }
  // Slots and tables.
  size_t size_bytes() const;

 private:
  struct Head {
    SlotTable table;
    WorkingSetUse use;
  };
  WorkingSet(SlotPool* pool, int num_slots, HugeBytes rows);
  size_t HeadNumber(int layer, int kv_head) const {
    return layer * pool_->layout().num_kv_heads + kv_head;
  }
  RowPointers Slot(int layer, int kv_head, int slot) const;
  void Copy(int layer, int kv_head, std::span<const SlotTable::Placement> placed,
            const SequenceCache& cache);

  SlotPool* const pool_;
  const int num_slots_;
  const HugeBytes rows_;  // KvLayout with a capacity of num_slots_
  std::vector<Head> heads_;
};

}  // namespace skv::kv
