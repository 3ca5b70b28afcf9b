#pragma once
// Hands out ranges of [0, size), in whatever unit its owner counts: best fit, neighbours coalesced
// when freed. Deals in offsets only and never touches memory. Not thread-safe: one owner.

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace skv::kv {

// [begin, end).
struct Extent {
  size_t begin;
  size_t end;
  bool operator==(const Extent&) const = default;
};

class ExtentAllocator {
 public:
  // Manages [0, size).
  explicit ExtentAllocator(size_t size);

  // The offset of `length` (> 0) free units, the lowest of the smallest free range that fits;
  // nullopt when no range is large enough.
  std::optional<size_t> Allocate(size_t length);
  // Returns the free range that [offset, offset + length) is now part of.
  // REQUIRES: [offset, offset + length) came from one Allocate and was not freed.
  Extent Free(size_t offset, size_t length);

  size_t used() const { return used_; }
  size_t largest_free() const;

 private:
  void AddFree(size_t offset, size_t length);
  void RemoveFree(size_t offset, size_t length);

  // Both hold the same free ranges; no two of them touch.
  std::map<size_t, size_t> free_by_offset_;           // offset -> length
  std::set<std::pair<size_t, size_t>> free_by_size_;  // (length, offset)
  size_t used_ = 0;
};

}  // namespace skv::kv
