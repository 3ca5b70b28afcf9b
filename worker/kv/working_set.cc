#include "worker/kv/working_set.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::kv {

WorkingSetUse& WorkingSetUse::operator+=(const WorkingSetUse& other) {
  hit_rows += other.hit_rows;
  fetched_rows += other.fetched_rows;
  own_rows += other.own_rows;
  evicted_rows += other.evicted_rows;
  in_place_rows += other.in_place_rows;
  return *this;
}

absl::StatusOr<std::unique_ptr<WorkingSet>> WorkingSet::Create(SlotPool* pool, int num_slots) {
  SKV_RETURN_IF_ERROR(pool->Take(num_slots));
  const size_t bytes = num_slots * pool->layout().TokenBytes();
  HugeBytes rows(bytes);
  if (rows.data() == nullptr) {
    pool->GiveBack(num_slots);
    return absl::ResourceExhaustedError(
        absl::StrCat("working set: no memory for ", num_slots, " slots, ", bytes, " bytes"));
  }
  return std::unique_ptr<WorkingSet>(new WorkingSet(pool, num_slots, std::move(rows)));
}

WorkingSet::WorkingSet(SlotPool* pool, int num_slots, HugeBytes rows)
    : pool_(pool), num_slots_(num_slots), rows_(std::move(rows)) {
  heads_.reserve(pool->layout().NumHeads());
  for (int i = 0; i < pool->layout().NumHeads(); ++i) heads_.push_back({SlotTable(num_slots), {}});
}

WorkingSet::~WorkingSet() { pool_->GiveBack(num_slots_); }

RowPointers WorkingSet::Slot(int layer, int kv_head, int slot) const {
  const KvLayout& layout = pool_->layout();
  std::byte* const row = rows_.data() + layout.RowBytes() * slot;
  return {row + layout.KeyOffset(layer, kv_head, num_slots_),
          row + layout.ValueOffset(layer, kv_head, num_slots_)};
}

bool WorkingSet::Hold(int layer, int kv_head, std::span<const int> positions,
                      const SequenceCache& cache) {
  Head& head = heads_[HeadNumber(layer, kv_head)];
  const int num_positions = static_cast<int>(positions.size());
  thread_local std::vector<SlotTable::Placement> placed;
  const int num_evicted = head.table.Select(positions, &placed);
  if (num_evicted < 0) {
    head.use += {.in_place_rows = num_positions};
    return false;
  }
  Copy(layer, kv_head, placed, cache);
  const int num_placed = static_cast<int>(placed.size());
  const bool own = num_placed > 0 && placed.back().position == positions.back();
  head.use += {.hit_rows = num_positions - num_placed,
               .fetched_rows = num_placed - own,
               .own_rows = own,
               .evicted_rows = num_evicted};
  return true;
}

void WorkingSet::Copy(int layer, int kv_head, std::span<const SlotTable::Placement> placed,
                      const SequenceCache& cache) {
  const size_t row_bytes = pool_->layout().RowBytes();
  for (const SlotTable::Placement& placement : placed) {
    const RowPointers from = cache.Row(layer, kv_head, placement.position);
    const RowPointers to = Slot(layer, kv_head, placement.slot);
    std::memcpy(to.k, from.k, row_bytes);
    std::memcpy(to.v, from.v, row_bytes);
  }
}

void WorkingSet::AppendRuns(int layer, int kv_head, std::vector<KvRun>* runs) const {
  int next_slot = -1;
  heads_[HeadNumber(layer, kv_head)].table.ForEachSelected([&](int, int slot) {
    if (slot == next_slot) {
      ++runs->back().num_rows;
    } else {
      const RowPointers row = Slot(layer, kv_head, slot);
      runs->push_back({row.k, row.v, 1});
    }
    next_slot = slot + 1;
  });
}

void WorkingSet::AppendHeldOrCached(int layer, int kv_head, int begin, int end,
                                    const SequenceCache& cache, std::vector<KvRun>* runs,
                                    absl::FunctionRef<void(int, int)> in_place) const {
  const auto append_cached = [&](int first, int last) {
    if (first == last) return;
    cache.AppendRuns(layer, kv_head, first, last, runs);
    in_place(first, last);
  };
  int next = begin;
  heads_[HeadNumber(layer, kv_head)].table.ForEachHeld(begin, end, [&](int position, int slot) {
    append_cached(next, position);
    const RowPointers row = Slot(layer, kv_head, slot);
    runs->push_back({row.k, row.v, 1});
    next = position + 1;
  });
  append_cached(next, end);
}

WorkingSetUse WorkingSet::TakeUse() {
  WorkingSetUse sum;
  for (Head& head : heads_) sum += std::exchange(head.use, {});
  return sum;
}

size_t WorkingSet::size_bytes() const {
  size_t bytes = num_slots_ * pool_->layout().TokenBytes();
  for (const Head& head : heads_) bytes += sizeof(Head) + head.table.size_bytes();
  return bytes;
}

}  // namespace skv::kv
