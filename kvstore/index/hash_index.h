#pragma once
// From hashes to ids whose keys lie elsewhere. Address space for all is reserved at the start,
// memory is touched as it is first needed, and entries are removed without tombstones: no operation
// ever rebuilds the table. Not thread-safe.

#include <bit>
#include <cstdint>

#include "common/log.h"
#include "common/page_memory.h"

namespace skv::kvstore {

class HashIndex {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // For up to `capacity` ids (< 2^31): 8 bytes times the power of two from 1.25 x capacity.
  explicit HashIndex(uint32_t capacity)
      : slots_(std::bit_ceil(uint64_t{capacity} + capacity / 4 + 1)),
        mask_(static_cast<uint32_t>(slots_.size() - 1)) {}

  // The id under `hash` that `matches(id)` accepts, or kNone.
  template <typename Matches>
  uint32_t Find(uint64_t hash, Matches matches) const {
    const uint32_t tag = Tag(hash);
    for (uint32_t i = tag & mask_; slots_[i].is_used(); i = (i + 1) & mask_) {
      if (slots_[i].tag == tag && matches(slots_[i].id())) return slots_[i].id();
    }
    return kNone;
  }
  // An id that may be the one, or kNone: what to prefetch before Find.
  uint32_t Guess(uint64_t hash) const { return slots_[Tag(hash) & mask_].id(); }
  void Prefetch(uint64_t hash) const { __builtin_prefetch(&slots_[Tag(hash) & mask_]); }

  // REQUIRES: fewer than `capacity` ids, and not this one.
  void Insert(uint64_t hash, uint32_t id) {
    const uint32_t tag = Tag(hash);
    uint32_t i = tag & mask_;
    while (slots_[i].is_used()) i = (i + 1) & mask_;
    slots_[i] = {tag, id + 1};
  }

  // REQUIRES: Insert(hash, id) was called.
  void Erase(uint64_t hash, uint32_t id) {
    uint32_t hole = Tag(hash) & mask_;
    while (slots_[hole].id() != id) {
      SKV_CHECK(slots_[hole].is_used()) << "id " << id << " is not in the index";
      hole = (hole + 1) & mask_;
    }
    // What follows moves into the hole, unless that lies before its own first place.
    for (uint32_t i = (hole + 1) & mask_; slots_[i].is_used(); i = (i + 1) & mask_) {
      const uint32_t first = slots_[i].tag & mask_;
      if (((i - first) & mask_) < ((i - hole) & mask_)) continue;
      slots_[hole] = slots_[i];
      hole = i;
    }
    slots_[hole].id_plus_1 = 0;
  }

 private:
  struct Slot {
    uint32_t tag;
    uint32_t id_plus_1;  // 0: unused, so that an untouched page is an empty one

    bool is_used() const { return id_plus_1 != 0; }
    uint32_t id() const { return id_plus_1 - 1; }  // kNone: unused
  };
  static uint32_t Tag(uint64_t hash) { return static_cast<uint32_t>(hash >> 32 ^ hash); }

  ZeroPages<Slot> slots_;
  const uint32_t mask_;
};

}  // namespace skv::kvstore
