#include "worker/kv/extent_allocator.h"

#include "common/log.h"

namespace skv::kv {

ExtentAllocator::ExtentAllocator(size_t size) {
  if (size > 0) AddFree(0, size);
}

std::optional<size_t> ExtentAllocator::Allocate(size_t length) {
  SKV_CHECK(length > 0);
  const auto it = free_by_size_.lower_bound({length, 0});
  if (it == free_by_size_.end()) return std::nullopt;
  const auto [free_length, offset] = *it;
  RemoveFree(offset, free_length);
  if (free_length > length) AddFree(offset + length, free_length - length);
  used_ += length;
  return offset;
}

Extent ExtentAllocator::Free(size_t offset, size_t length) {
  SKV_CHECK(used_ >= length);
  used_ -= length;
  const auto next = free_by_offset_.lower_bound(offset);
  if (next != free_by_offset_.begin()) {
    const auto [prev_offset, prev_length] = *std::prev(next);
    SKV_CHECK(prev_offset + prev_length <= offset) << "double free at " << offset;
    if (prev_offset + prev_length == offset) {
      RemoveFree(prev_offset, prev_length);
      offset = prev_offset;
      length += prev_length;
    }
  }
  if (const auto after = free_by_offset_.find(offset + length); after != free_by_offset_.end()) {
    const auto [after_offset, after_length] = *after;
    RemoveFree(after_offset, after_length);
    length += after_length;
  }
  AddFree(offset, length);
  return {offset, offset + length};
}

size_t ExtentAllocator::largest_free() const {
  return free_by_size_.empty() ? 0 : free_by_size_.rbegin()->first;
}

void ExtentAllocator::AddFree(size_t offset, size_t length) {
  free_by_offset_.emplace(offset, length);
  free_by_size_.emplace(length, offset);
}

void ExtentAllocator::RemoveFree(size_t offset, size_t length) {
  free_by_offset_.erase(offset);
  free_by_size_.erase({length, offset});
}

}  // namespace skv::kv
