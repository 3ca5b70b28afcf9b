#include "worker/kv/kv_pool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/rounding.h"
#include "common/status.h"

namespace skv::kv {
namespace {

int NumUnits(int num_tokens) { return CeilDiv(num_tokens, kUnitTokens); }
size_t RoundDown(size_t value, size_t multiple) { return value / multiple * multiple; }

}  // namespace

Container::Container(KvPool* pool, size_t offset, int capacity)
    : pool_(pool), offset_(offset), capacity_(capacity) {}

Container::~Container() { pool_->Free(offset_, capacity_); }

std::byte* Container::data() const { return pool_->base_ + offset_; }

Block::Block(KvPool* pool, size_t offset, int num_tokens)
    : PromptBlock(pool->base_ + offset, num_tokens),
      pool_(pool),
      memory_(pool, offset, num_tokens) {
  pool_->num_blocks_.fetch_add(1, std::memory_order_relaxed);
}

Block::~Block() { pool_->num_blocks_.fetch_sub(1, std::memory_order_relaxed); }

SlotPage::SlotPage(KvPool* pool, size_t offset, int num_slots)
    : Container(pool, offset, num_slots) {
  pool_->num_slot_pages_.fetch_add(1, std::memory_order_relaxed);
}

SlotPage::~SlotPage() { pool_->num_slot_pages_.fetch_sub(1, std::memory_order_relaxed); }

absl::StatusOr<std::unique_ptr<KvPool>> KvPool::Create(KvLayout layout, int64_t capacity_tokens) {
  const size_t num_units = std::max<int64_t>(1, capacity_tokens / kUnitTokens);
  const size_t size_bytes = num_units * kUnitTokens * layout.TokenBytes();
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
      unit_bytes_(kUnitTokens * layout.TokenBytes()),
      num_units_(num_units),
      page_bytes_(sysconf(_SC_PAGESIZE)),
      mapping_bytes_(RoundUp(num_units_ * unit_bytes_, page_bytes_)),
      base_(base),
      extents_(num_units) {}

KvPool::~KvPool() { munmap(base_, mapping_bytes_); }

absl::StatusOr<std::shared_ptr<Block>> KvPool::CreateBlock(int num_tokens) {
  SKV_ASSIGN_OR_RETURN(const size_t offset, Allocate(num_tokens));
  return std::make_shared<Block>(this, offset, num_tokens);
}

absl::StatusOr<std::unique_ptr<SlotPage>> KvPool::CreateSlotPage(int num_slots) {
  SKV_ASSIGN_OR_RETURN(const size_t offset, Allocate(num_slots));
  return std::make_unique<SlotPage>(this, offset, num_slots);
}

absl::StatusOr<size_t> KvPool::Allocate(int num_tokens) {
  const std::optional<size_t> unit = extents_.Allocate(NumUnits(num_tokens));
  if (!unit) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "KV pool: no room for ", num_tokens, " tokens: ", extents_.used() * kUnitTokens, " of ",
        capacity_tokens(), " tokens used, largest free range ", largest_free_tokens()));
  }
  used_bytes_.store(extents_.used() * unit_bytes_, std::memory_order_relaxed);
  return *unit * unit_bytes_;
}

void KvPool::Free(size_t offset, int num_tokens) {
  const int num_units = NumUnits(num_tokens);
  const Extent free_units = extents_.Free(offset / unit_bytes_, num_units);
  GiveBack(offset, offset + num_units * unit_bytes_, free_units);
  used_bytes_.store(extents_.used() * unit_bytes_, std::memory_order_relaxed);
}

// Gives the kernel the pages that [begin, end) touches and that lie in free units as a whole.
void KvPool::GiveBack(size_t begin, size_t end, const Extent& free_units) {
  const size_t free_begin = RoundUp(free_units.begin * unit_bytes_, page_bytes_);
  const size_t free_end = free_units.end == num_units_
                              ? mapping_bytes_
                              : RoundDown(free_units.end * unit_bytes_, page_bytes_);
  begin = std::max(RoundDown(begin, page_bytes_), free_begin);
  end = std::min(RoundUp(end, page_bytes_), free_end);
  if (begin < end) madvise(base_ + begin, end - begin, MADV_DONTNEED);
}

}  // namespace skv::kv
