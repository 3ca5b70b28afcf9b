#pragma once
// A sentence that was found and is computed all the same, to see whether the store tells the truth:
// checksums cannot tell of bytes that were wrong when they were stored.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "worker/kv/prompt_block.h"

namespace skv::prefix {

// Since the start.
struct RecomputeCounters {
  uint64_t num_blocks = 0;     // that were computed again, and compared
  uint64_t num_different = 0;  // of them, that the store had otherwise
};

// Is written in memory of its own; the sequence reads what it computed, whatever the store has.
class RecomputedBlock : public kv::PromptBlock {
 public:
  // `found` has `num_bytes` bytes; what it proves to be is added to `counters`.
  RecomputedBlock(std::shared_ptr<const kv::PromptBlock> found, size_t num_bytes,
                  std::shared_ptr<RecomputeCounters> counters);

  // Compares, and lets go of what was found.
  void Seal() override;

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  using Memory = std::unique_ptr<std::byte, Free>;
  RecomputedBlock(Memory memory, std::shared_ptr<const kv::PromptBlock> found, size_t num_bytes,
                  std::shared_ptr<RecomputeCounters> counters);
  static Memory Allocate(size_t num_bytes);

  const Memory memory_;
  const size_t num_bytes_;
  std::shared_ptr<const kv::PromptBlock> found_;  // null once compared
  const std::shared_ptr<RecomputeCounters> counters_;
};

}  // namespace skv::prefix
