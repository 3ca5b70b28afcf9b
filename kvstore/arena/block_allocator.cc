#include "kvstore/arena/block_allocator.h"

#include <bit>

#include "common/log.h"
#include "common/rounding.h"

namespace skv::kvstore {

BlockAllocator::BlockAllocator(uint64_t arena_bytes)
    : arena_bytes_(arena_bytes / kBlockUnit * kBlockUnit) {
  first_.fill(kNone);
  if (arena_bytes_ == 0) return;
  const uint32_t whole = NewRange();
  ranges_[whole].num_bytes = arena_bytes_;
  AddFree(whole);
}

std::optional<Placement> BlockAllocator::Allocate(uint64_t num_bytes, uint32_t owner) {
  SKV_CHECK(num_bytes > 0);
  if (num_bytes > arena_bytes_) return std::nullopt;
  num_bytes = RoundUp(num_bytes, kBlockUnit);
  const uint32_t idx = FindFree(num_bytes);
  if (idx == kNone) return std::nullopt;
  RecordSize(num_bytes);
  RemoveFree(idx);
  if (ranges_[idx].num_bytes > num_bytes) SplitOff(idx, num_bytes);
  ranges_[idx].state = Range::State::kLive;
  ranges_[idx].owner = owner;
  live_bytes_ += num_bytes;
  ++num_blocks_;
  return Placement{ranges_[idx].offset, idx};
}

Hole BlockAllocator::Free(const Placement& placement) {
  uint32_t idx = placement.range;
  SKV_CHECK(idx < ranges_.size() && ranges_[idx].state == Range::State::kLive &&
            ranges_[idx].offset == placement.offset)
      << "no block lies at " << placement.offset;
  live_bytes_ -= ranges_[idx].num_bytes;
  --num_blocks_;
  const uint32_t before = ranges_[idx].before;
  if (before != kNone && ranges_[before].state == Range::State::kFree) {
    RemoveFree(before);
    Absorb(before, idx);
    idx = before;
  }
  const uint32_t after = ranges_[idx].after;
  if (after != kNone && ranges_[after].state == Range::State::kFree) {
    RemoveFree(after);
    Absorb(idx, after);
  }
  AddFree(idx);
  return {ranges_[idx].num_bytes, NeighbourAt(ranges_[idx].before),
          NeighbourAt(ranges_[idx].after)};
}

// Up to 31 units a list each; then 32 lists to each power of two, so a list's sizes differ by 3 %.
int BlockAllocator::ListOf(uint64_t num_bytes) {
  const uint64_t units = num_bytes / kBlockUnit;
  if (units < (1 << kSubBits)) return static_cast<int>(units);
  const int shift = std::bit_width(units) - 1 - kSubBits;
  return ((shift + 1) << kSubBits) + static_cast<int>((units >> shift) - (1 << kSubBits));
}

// In the list of its own size a block fits into some ranges; in all further lists into every one.
uint32_t BlockAllocator::FindFree(uint64_t num_bytes) const {
  const int own = ListOf(num_bytes);
  uint32_t best = kNone;
  int tries = kMaxTried;
  for (uint32_t idx = first_[own]; idx != kNone && tries > 0; idx = ranges_[idx].next_free) {
    const uint64_t room = ranges_[idx].num_bytes;
    if (room == num_bytes) return idx;
    if (room > num_bytes && (best == kNone || room < ranges_[best].num_bytes)) best = idx;
    --tries;
  }
  if (best != kNone) return best;
  const int list = NextFilledList(own + 1);
  return list < kNumLists ? first_[list] : kNone;
}

// The first list from `list` on that has a range, or kNumLists.
int BlockAllocator::NextFilledList(int list) const {
  uint64_t mask = ~uint64_t{0} << (list % 64);
  for (size_t word = list / 64; word < filled_.size(); ++word) {
    if (const uint64_t bits = filled_[word] & mask; bits != 0) {
      return static_cast<int>(word) * 64 + std::countr_zero(bits);
    }
    mask = ~uint64_t{0};
  }
  return kNumLists;
}

void BlockAllocator::AddFree(uint32_t idx) {
  Range& range = ranges_[idx];
  const int list = ListOf(range.num_bytes);
  range.state = Range::State::kFree;
  range.previous_free = kNone;
  range.next_free = first_[list];
  if (range.next_free != kNone) ranges_[range.next_free].previous_free = idx;
  first_[list] = idx;
  filled_[list / 64] |= uint64_t{1} << (list % 64);
  if (range.num_bytes < smallest_bytes_) scrap_bytes_ += range.num_bytes;
}

void BlockAllocator::RemoveFree(uint32_t idx) {
  const Range& range = ranges_[idx];
  const int list = ListOf(range.num_bytes);
  if (range.previous_free != kNone) {
    ranges_[range.previous_free].next_free = range.next_free;
  } else {
    first_[list] = range.next_free;
    if (range.next_free == kNone) filled_[list / 64] &= ~(uint64_t{1} << (list % 64));
  }
  if (range.next_free != kNone) ranges_[range.next_free].previous_free = range.previous_free;
  if (range.num_bytes < smallest_bytes_) scrap_bytes_ -= range.num_bytes;
}

// A smaller block than ever makes room of what was scrap.
void BlockAllocator::RecordSize(uint64_t num_bytes) {
  if (smallest_bytes_ != 0 && num_bytes >= smallest_bytes_) return;
  smallest_bytes_ = num_bytes;
  scrap_bytes_ = 0;
  for (int list = 0; list <= ListOf(num_bytes); ++list) {
    for (uint32_t idx = first_[list]; idx != kNone; idx = ranges_[idx].next_free) {
      if (ranges_[idx].num_bytes < num_bytes) scrap_bytes_ += ranges_[idx].num_bytes;
    }
  }
}

// Cuts a range after `num_bytes`; the rest becomes a free range. Its own neighbour is live.
void BlockAllocator::SplitOff(uint32_t idx, uint64_t num_bytes) {
  const uint32_t rest = NewRange();
  Range& range = ranges_[idx];
  ranges_[rest].offset = range.offset + num_bytes;
  ranges_[rest].num_bytes = range.num_bytes - num_bytes;
  ranges_[rest].before = idx;
  ranges_[rest].after = range.after;
  if (range.after != kNone) ranges_[range.after].before = rest;
  range.after = rest;
  range.num_bytes = num_bytes;
  AddFree(rest);
}

void BlockAllocator::Absorb(uint32_t idx, uint32_t after) {
  Range& range = ranges_[idx];
  range.num_bytes += ranges_[after].num_bytes;
  range.after = ranges_[after].after;
  if (range.after != kNone) ranges_[range.after].before = idx;
  ranges_[after] = Range();
  unused_.push_back(after);
}

uint32_t BlockAllocator::NewRange() {
  if (unused_.empty()) {
    SKV_CHECK(ranges_.size() < kNone);
    ranges_.emplace_back();
    return static_cast<uint32_t>(ranges_.size() - 1);
  }
  const uint32_t idx = unused_.back();
  unused_.pop_back();
  return idx;
}

std::optional<Neighbour> BlockAllocator::NeighbourAt(uint32_t idx) const {
  if (idx == kNone) return std::nullopt;
  return Neighbour{ranges_[idx].owner, ranges_[idx].num_bytes};
}

}  // namespace skv::kvstore
