#include "worker/prefix/recomputed_block.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include "common/log.h"
#include "common/rounding.h"

namespace skv::prefix {
namespace {

constexpr size_t kAlignment = 64;  // of rows, as in the store

}  // namespace

void RecomputedBlock::Free::operator()(std::byte* memory) const { std::free(memory); }

RecomputedBlock::Memory RecomputedBlock::Allocate(size_t num_bytes) {
  auto* const memory = std::aligned_alloc(kAlignment, RoundUp(num_bytes, kAlignment));
  SKV_CHECK(memory != nullptr) << "no memory for a block of " << num_bytes << " bytes";
  return Memory(static_cast<std::byte*>(memory));
}

RecomputedBlock::RecomputedBlock(std::shared_ptr<const kv::PromptBlock> found, size_t num_bytes,
                                 std::shared_ptr<RecomputeCounters> counters)
    : RecomputedBlock(Allocate(num_bytes), std::move(found), num_bytes, std::move(counters)) {}

RecomputedBlock::RecomputedBlock(Memory memory, std::shared_ptr<const kv::PromptBlock> found,
                                 size_t num_bytes, std::shared_ptr<RecomputeCounters> counters)
    : PromptBlock(memory.get(), found->capacity()),
      memory_(std::move(memory)),
      num_bytes_(num_bytes),
      found_(std::move(found)),
      counters_(std::move(counters)) {}

void RecomputedBlock::Seal() {
  ++counters_->num_blocks;
  if (std::memcmp(data(), found_->data(), num_bytes_) != 0) {
    ++counters_->num_different;
    SKV_LOG_EVERY_SECONDS(ERROR, 10)
        << "a cached block of " << capacity() << " tokens is not what computing it again gives; "
        << "answers that used it may be wrong: purge the store ('skv kvstore purge'), and report "
        << "the model and versions of all workers that share it";
  }
  found_ = nullptr;
}

}  // namespace skv::prefix
