#pragma once
// The memory of one rank's KV containers: one anonymous mapping, committed when first written and
// given back to the kernel as its pages become free, so that resident memory follows KV in use.
// Two kinds of container live in it (docs/architecture.md):
//   Block     a sentence of the prompt, shared by the sequences that hold it, and by nobody else
//   SlotPage  private slots for generated tokens
// Memory is taken in units of kUnitTokens tokens, so that all ranks of a group, whose tokens differ
// in bytes, make the same choices. Engine thread only; used_bytes, num_blocks and num_slot_pages
// from any thread.

#include <atomic>
#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/kv/extent_allocator.h"
#include "worker/kv/kv_layout.h"
#include "worker/kv/prompt_block.h"

namespace skv::kv {

// Sentences average 20 tokens: a small unit wastes little of each.
inline constexpr int kUnitTokens = 4;
inline constexpr int kMaxBlockTokens = 128;
inline constexpr int kSlotsPerPage = 16;
static_assert(kMaxBlockTokens % kUnitTokens == 0 && kSlotsPerPage % kUnitTokens == 0);

class KvPool;

// Room for `capacity` tokens in the pool; frees it when destroyed. The pool outlives it.
class Container {
 public:
  Container(KvPool* pool, size_t offset, int capacity);
  ~Container();
  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;

  int capacity() const { return capacity_; }
  // KvLayout says where in it the rows lie.
  std::byte* data() const;

 protected:
  KvPool* const pool_;

 private:
  const size_t offset_;
  const int capacity_;
};

class Block : public PromptBlock {
 public:
  Block(KvPool* pool, size_t offset, int num_tokens);
  ~Block() override;
  void Seal() override {}

 private:
  KvPool* const pool_;
  const Container memory_;
};

class SlotPage : public Container {
 public:
  SlotPage(KvPool* pool, size_t offset, int num_slots);
  ~SlotPage();
};

class KvPool {
 public:
  // ResourceExhausted when the mapping is refused.
  static absl::StatusOr<std::unique_ptr<KvPool>> Create(KvLayout layout, int64_t capacity_tokens);
  ~KvPool();

  // ResourceExhausted when the pool has no room.
  absl::StatusOr<std::shared_ptr<Block>> CreateBlock(int num_tokens);
  absl::StatusOr<std::unique_ptr<SlotPage>> CreateSlotPage(int num_slots = kSlotsPerPage);
  // The largest container that there is room for: a multiple of kUnitTokens, 0 when full.
  int64_t largest_free_tokens() const { return extents_.largest_free() * kUnitTokens; }

  const KvLayout& layout() const { return layout_; }
  int64_t capacity_tokens() const { return num_units_ * kUnitTokens; }
  size_t used_bytes() const { return used_bytes_.load(std::memory_order_relaxed); }
  int64_t num_blocks() const { return num_blocks_.load(std::memory_order_relaxed); }
  int64_t num_slot_pages() const { return num_slot_pages_.load(std::memory_order_relaxed); }

 private:
  friend class Container;
  friend class Block;
  friend class SlotPage;
  KvPool(KvLayout layout, size_t num_units, std::byte* base);
  absl::StatusOr<size_t> Allocate(int num_tokens);
  void Free(size_t offset, int num_tokens);
  void GiveBack(size_t begin, size_t end, const Extent& free_units);

  const KvLayout layout_;
  const size_t unit_bytes_;  // neither less than a kernel page nor a multiple of one, necessarily
  const size_t num_units_;
  const size_t page_bytes_;     // of the kernel
  const size_t mapping_bytes_;  // whole kernel pages
  std::byte* const base_;
  ExtentAllocator extents_;  // in units
  std::atomic<size_t> used_bytes_{0};
  std::atomic<int64_t> num_blocks_{0};
  std::atomic<int64_t> num_slot_pages_{0};
};

}  // namespace skv::kv
