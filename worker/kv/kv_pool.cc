#include "worker/kv/kv_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::kv {
namespace {

int NumUnits(int num_tokens) { return (num_tokens + kSlotsPerPage - 1) / kSlotsPerPage; }

}  // namespace

Container::Container(KvPool* pool, size_t offset, int capacity)
    : pool_(pool), offset_(offset), capacity_(capacity) {}

Container::~Container() { pool_->Free(offset_, capacity_); }

std::byte* Container::KeyRow(int layer, int kv_head, int row) {
  const KvLayout& layout = pool_->layout();
  return pool_->base_ + offset_ + layout.KeyOffset(layer, kv_head, capacity_) +
         layout.RowBytes() * row;
}

std::byte* Container::ValueRow(int layer, int kv_head, int row) {
  const KvLayout& layout = pool_->layout();
  return pool_->base_ + offset_ + layout.ValueOffset(layer, kv_head, capacity_) +
         layout.RowBytes() * row;
}

Block::Block(KvPool* pool, size_t offset, int num_tokens) : Container(pool, offset, num_tokens) {
  pool_->num_blocks_.fetch_add(1, std::memory_order_relaxed);
}

Block::~Block() { pool_->num_blocks_.fetch_sub(1, std::memory_order_relaxed); }

SlotPage::SlotPage(KvPool* pool, size_t offset) : Container(pool, offset, kSlotsPerPage) {
  pool_->num_slot_pages_.fetch_add(1, std::memory_order_relaxed);
}

SlotPage::~SlotPage() { pool_->num_slot_pages_.fetch_sub(1, std::memory_order_relaxed); }

absl::StatusOr<std::unique_ptr<KvPool>> KvPool::Create(KvLayout layout, int64_t capacity_tokens) {
  const size_t num_units = std::max<int64_t>(1, capacity_tokens / kSlotsPerPage);
  const size_t size_bytes = num_units * kSlotsPerPage * layout.TokenBytes();
  void* base = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("KV pool of ", size_bytes, " bytes for ", capacity_tokens,
                     " tokens: mmap: ", strerror(errno), "; lower --kv-cache-memory-bytes"));
  }
  // One (layer, head) of a long context touches a page per container; huge pages spare the TLB.
  madvise(base, size_bytes, MADV_HUGEPAGE);
  return std::unique_ptr<KvPool>(new KvPool(layout, num_units, static_cast<std::byte*>(base)));
}

KvPool::KvPool(KvLayout layout, size_t num_units, std::byte* base)
    : layout_(layout),
      unit_bytes_(kSlotsPerPage * layout.TokenBytes()),
      num_units_(num_units),
      base_(base),
      extents_(num_units) {}

KvPool::~KvPool() { munmap(base_, num_units_ * unit_bytes_); }

absl::StatusOr<std::shared_ptr<Block>> KvPool::CreateBlock(int num_tokens) {
  SKV_ASSIGN_OR_RETURN(const size_t offset, Allocate(num_tokens));
  return std::make_shared<Block>(this, offset, num_tokens);
}

absl::StatusOr<std::unique_ptr<SlotPage>> KvPool::CreateSlotPage() {
  SKV_ASSIGN_OR_RETURN(const size_t offset, Allocate(kSlotsPerPage));
  return std::make_unique<SlotPage>(this, offset);
}

absl::StatusOr<size_t> KvPool::Allocate(int num_tokens) {
  const std::optional<size_t> unit = extents_.Allocate(NumUnits(num_tokens));
  if (!unit) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "KV pool: no room for ", num_tokens, " tokens: ", extents_.used() * kSlotsPerPage, " of ",
        num_units_ * kSlotsPerPage, " tokens used, largest free range ",
        extents_.largest_free() * kSlotsPerPage));
  }
  used_bytes_.store(extents_.used() * unit_bytes_, std::memory_order_relaxed);
  return *unit * unit_bytes_;
}

void KvPool::Free(size_t offset, int num_tokens) {
  const int num_units = NumUnits(num_tokens);
  madvise(base_ + offset, num_units * unit_bytes_, MADV_DONTNEED);
  extents_.Free(offset / unit_bytes_, num_units);
  used_bytes_.store(extents_.used() * unit_bytes_, std::memory_order_relaxed);
}

}  // namespace skv::kv
