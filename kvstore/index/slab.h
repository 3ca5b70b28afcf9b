#pragma once
// Up to so many objects named by dense indices, and handles that outlive them: an index and the
// generation of what it held. Address space for all is reserved at the start, memory is touched as
// it is first needed, and nothing is moved, or given back before the end. Not thread-safe.

#include <cstdint>
#include <optional>
#include <vector>

#include "common/log.h"
#include "common/page_memory.h"

namespace skv::kvstore {

// Names one T for ever: once that is gone the handle finds nothing, until its slot has been reused
// 2^31 times. A default handle never finds anything.
template <typename T>
struct Handle {
  uint32_t index = 0;
  uint32_t generation = 0;
  bool operator==(const Handle&) const = default;
  auto operator<=>(const Handle&) const = default;
};

template <typename T>
class Slab {
 public:
  explicit Slab(uint32_t capacity) : capacity_(capacity) { slots_.reserve(capacity); }

  // The index of a new T{}, lately used ones first; nullopt when `capacity` are live.
  std::optional<uint32_t> Allocate() {
    uint32_t index = first_free_;
    if (index != kNone) {
      first_free_ = slots_[index].next_free;
      slots_[index].value = T{};
    } else if (slots_.size() < capacity_) {
      index = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      return std::nullopt;
    }
    ++slots_[index].generation;
    ++size_;
    return index;
  }

  // REQUIRES: `index` is live.
  void Free(uint32_t index) {
    SKV_CHECK(IsLive(index)) << "slot " << index;
    ++slots_[index].generation;
    slots_[index].next_free = first_free_;
    first_free_ = index;
    --size_;
  }

  // Any index and any handle may be asked for.
  bool IsLive(uint32_t index) const {
    return index < slots_.size() && slots_[index].generation % 2 == 1;
  }
  bool IsLive(Handle<T> handle) const {
    return IsLive(handle.index) && slots_[handle.index].generation == handle.generation;
  }

  // REQUIRES: `index` is live.
  T& operator[](uint32_t index) { return slots_[index].value; }
  const T& operator[](uint32_t index) const { return slots_[index].value; }
  Handle<T> HandleOf(uint32_t index) const { return {index, slots_[index].generation}; }
  void Prefetch(uint32_t index) const { __builtin_prefetch(&slots_[index]); }

  uint32_t size() const { return size_; }
  uint32_t capacity() const { return capacity_; }
  // All live indices are below.
  uint32_t end() const { return static_cast<uint32_t>(slots_.size()); }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Slot {
    T value{};
    uint32_t generation = 0;  // odd while live
    uint32_t next_free = kNone;
  };
  const uint32_t capacity_;
  std::vector<Slot, PageAllocator<Slot>> slots_;
  uint32_t first_free_ = kNone;
  uint32_t size_ = 0;
};

}  // namespace skv::kvstore
