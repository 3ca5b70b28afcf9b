#include "worker/kv/slot_table.h"

#include <algorithm>
#include <tuple>

namespace skv::kv {

SlotTable::SlotTable(int num_slots) : num_slots_(num_slots) { entries_.reserve(num_slots); }

int SlotTable::Select(std::span<const int> positions, std::vector<Placement>* placed) {
  placed->clear();
  const int num_selected = static_cast<int>(positions.size());
  if (num_selected > num_slots_) return -1;
  ++now_;
  const int num_missing = num_selected - Touch(positions);
  const int num_before = num_held();
  const int num_evicted = std::max(0, num_before + num_missing - num_slots_);
  thread_local std::vector<int> slots;
  slots.clear();
  Evict(num_evicted, &slots);
  for (int slot = num_before; static_cast<int>(slots.size()) < num_missing; ++slot) {
    slots.push_back(slot);
  }
  // Neighbours in neighbouring slots, where they can be had: they are read as one run.
  std::ranges::sort(slots);
  auto entry = entries_.begin();
  for (const int position : positions) {
    while (entry != entries_.end() && entry->position < position) ++entry;
    if (entry != entries_.end() && entry->position == position) continue;
    placed->push_back({position, slots[placed->size()]});
  }
  Insert(*placed);
  return num_evicted;
}

// Marks those of `positions` that have slots as selected now; returns their number.
int SlotTable::Touch(std::span<const int> positions) {
  int num_hits = 0;
  auto entry = entries_.begin();
  for (const int position : positions) {
    while (entry != entries_.end() && entry->position < position) ++entry;
    if (entry == entries_.end()) break;
    if (entry->position != position) continue;
    entry->last_selected = now_;
    ++num_hits;
  }
  return num_hits;
}

// Drops the `count` entries that were selected longest ago; `freed` receives their slots.
void SlotTable::Evict(int count, std::vector<int>* freed) {
  if (count == 0) return;
  thread_local std::vector<Entry*> oldest;
  oldest.clear();
  for (Entry& entry : entries_) {
    if (entry.last_selected != now_) oldest.push_back(&entry);
  }
  std::nth_element(oldest.begin(), oldest.begin() + (count - 1), oldest.end(),
                   [](const Entry* a, const Entry* b) {
                     return std::tie(a->last_selected, a->position) <
                            std::tie(b->last_selected, b->position);
                   });
  for (int i = 0; i < count; ++i) {
    freed->push_back(oldest[i]->slot);
    oldest[i]->last_selected = 0;
  }
  std::erase_if(entries_, [](const Entry& entry) { return entry.last_selected == 0; });
}

// From the back, so that each entry moves once.
void SlotTable::Insert(std::span<const Placement> placed) {
  size_t from = entries_.size();
  entries_.resize(from + placed.size());
  size_t to = entries_.size();
  for (size_t i = placed.size(); i > 0; --i) {
    const Placement& next = placed[i - 1];
    while (from > 0 && entries_[from - 1].position > next.position)
      entries_[--to] = entries_[--from];
    entries_[--to] = {next.position, next.slot, now_};
  }
}

}  // namespace skv::kv
