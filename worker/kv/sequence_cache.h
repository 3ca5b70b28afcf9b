#pragma once
// One sequence's keys and values on one rank: its prompt in blocks of up to kMaxBlockTokens, what
// it generated in slot pages. Attention reads both through lists of runs. Engine thread only.

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "worker/kv/kv_pool.h"

namespace skv::kv {

// Consecutive positions whose rows lie together: k and v are [num_rows, head_dim].
struct RowRun {
  const std::byte* k;
  const std::byte* v;
  int num_rows;
};

// Where one position's rows are written.
struct RowPointers {
  std::byte* k;
  std::byte* v;
};

class SequenceCache {
 public:
  // Empty; positions below num_prompt_tokens will be of the prompt. The pool outlives the cache.
  SequenceCache(KvPool* pool, int num_prompt_tokens);

  // Makes room for the next `num_tokens` positions; call before the step that computes them.
  // ResourceExhausted: the pool is full; the cache keeps what it had.
  absl::Status Reserve(int num_tokens);
  // The reserved positions have been written: they count as computed, and full blocks are sealed.
  void Commit();

  // A second sequence with the same prompt: shares this one's blocks.
  // REQUIRES: the whole prompt is computed.
  std::unique_ptr<SequenceCache> ForkPrompt() const;

  // Positions computed so far, and those reserved (>= computed).
  int num_computed() const { return num_computed_; }
  int num_reserved() const { return num_reserved_; }

  // REQUIRES: position < num_reserved().
  RowPointers Row(int layer, int kv_head, int position) const;
  // Appends the runs of positions [begin, end), in order. REQUIRES: end <= num_reserved().
  void AppendRuns(int layer, int kv_head, int begin, int end, std::vector<RowRun>* runs) const;

 private:
  // Blocks cover prompt positions below this.
  int prompt_reserved() const {
    return blocks_.empty() ? 0 : block_begin_.back() + blocks_.back()->capacity();
  }
  absl::Status AppendBlock();

  struct Place {
    Container* container;
    int row;
  };
  Place Find(int position) const;

  KvPool* const pool_;
  const int num_prompt_tokens_;
  int num_computed_ = 0;
  int num_reserved_ = 0;
  std::vector<std::shared_ptr<Block>> blocks_;    // of the prompt, in order
  std::vector<int> block_begin_;                  // first position of each block
  std::vector<int> block_of_unit_;                // by prompt position / kSlotsPerPage
  std::vector<std::unique_ptr<SlotPage>> pages_;  // page i: generated tokens from i * kSlotsPerPage
};

}  // namespace skv::kv
