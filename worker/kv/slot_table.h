#pragma once
// Which positions of one layer and KV head lie in which slots of a working set, and which of them
// go when others come: least recently selected first, never one of the current selection. Deals in
// numbers only and never touches rows. Not thread-safe: one owner at a time.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace skv::kv {

class SlotTable {
 public:
  // A position that has just come, and the slot that is now its own.
  struct Placement {
    int position;
    int slot;
    bool operator==(const Placement&) const = default;
  };

  // Of slots [0, num_slots), all empty; its memory is made here.
  explicit SlotTable(int num_slots);

  // `positions` (ascending, each once) are what is attended now: all of them have a slot afterwards
  // and keep it until the next call. `placed` receives, ascending, those that had none; their slots
  // are to be filled. Who makes room for them: the least recently selected, of equals the lowest.
  // Returns how many had to go, or -1, and nothing changes, when there are more positions than
  // slots.
  int Select(std::span<const int> positions, std::vector<Placement>* placed);

  // Calls use(position, slot) for what was selected last, by position.
  template <typename Use>
  void ForEachSelected(Use use) const {
    for (const Entry& entry : entries_) {
      if (entry.last_selected == now_) use(entry.position, entry.slot);
    }
  }

  // Calls use(position, slot) for all positions in [begin, end) that have a slot, ascending.
  template <typename Use>
  void ForEachHeld(int begin, int end, Use use) const {
    auto entry = std::ranges::lower_bound(entries_, begin, {}, &Entry::position);
    for (; entry != entries_.end() && entry->position < end; ++entry) {
      use(entry->position, entry->slot);
    }
  }

  int num_slots() const { return num_slots_; }
  int num_held() const { return static_cast<int>(entries_.size()); }
  size_t size_bytes() const { return entries_.capacity() * sizeof(Entry); }

 private:
  struct Entry {
    int32_t position;
    int32_t slot;
    uint32_t last_selected;  // 0: it has to go
  };
  int Touch(std::span<const int> positions);
  void Evict(int count, std::vector<int>* freed);
  void Insert(std::span<const Placement> placed);

  const int num_slots_;
  uint32_t now_ = 0;            // calls of Select that changed something
  std::vector<Entry> entries_;  // by position; slots at or above their number were never used
};

}  // namespace skv::kv
