#pragma once
// How many slots the working sets of one rank may have together. A slot is one token's place in
// every layer and KV head of the rank, so that all ranks of a group, whose tokens differ in bytes,
// make the same choices. Counts only: each working set brings its own memory. Engine thread only,
// but used_slots from any thread.

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "worker/kv/kv_layout.h"

namespace skv::kv {

class SlotPool {
 public:
  SlotPool(KvLayout layout, int64_t capacity_slots)
      : layout_(layout), capacity_slots_(capacity_slots) {}

  // ResourceExhausted, and nothing is taken, when there are not so many left.
  absl::Status Take(int64_t num_slots);
  void GiveBack(int64_t num_slots);

  const KvLayout& layout() const { return layout_; }
  int64_t capacity_slots() const { return capacity_slots_; }
  int64_t used_slots() const { return used_slots_.load(std::memory_order_relaxed); }

 private:
  const KvLayout layout_;
  const int64_t capacity_slots_;
  std::atomic<int64_t> used_slots_{0};
};

}  // namespace skv::kv
