#pragma once
// One sequence's keys and values on one rank: its prompt in blocks, one a sentence, of the pool or
// of whoever gave them, and what it generated in slot pages. Attention reads both through lists of
// runs. Engine thread only, but for Row and AppendRuns, which several threads may call between
// Reserve and Commit.

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/kv_run.h"
#include "worker/kv/kv_pool.h"
#include "worker/kv/prompt_block.h"

namespace skv::kv {

// Where one position's rows are written.
struct RowPointers {
  std::byte* k;
  std::byte* v;
};

class SequenceCache {
 public:
  // Empty; positions below num_prompt_tokens will be of the prompt. `sentence_ends` are where its
  // sentences end (exclusive). What follows the last is a sentence too, and sentences longer than
  // kMaxBlockTokens are cut. The pool outlives the cache.
  // REQUIRES: sentence_ends ascend, from 1 to num_prompt_tokens.
  SequenceCache(KvPool* pool, int num_prompt_tokens, absl::Span<const int> sentence_ends = {});

  // Blocks for the sentences of the prompt, from the first on and in order; null, or none: from the
  // pool, as what follows the last sentence end is in any case. The first num_computed positions
  // are written already, and count as computed.
  // REQUIRES: nothing is reserved; a block has room for exactly its sentence; num_computed is 0 or
  // a sentence end, and the sentences before it have blocks.
  void UsePrompt(std::vector<std::shared_ptr<PromptBlock>> blocks, int num_computed);

  // Makes room for the next `num_tokens` positions; call before the step that computes them. A
  // sentence gets its whole block when its first token is reserved. Takes no more units than each
  // sentence and each kSlotsPerPage generated tokens need, however fragmented the pool is.
  // ResourceExhausted: the pool is full; the cache keeps what it had.
  absl::Status Reserve(int num_tokens);
  // The reserved positions have been written: they count as computed. Seals the blocks that this
  // completes, in order; not those that were written before they came here.
  void Commit();

  // A second sequence with the same prompt: shares this one's blocks.
  // REQUIRES: the whole prompt is computed.
  std::unique_ptr<SequenceCache> ForkPrompt() const;

  // Positions computed so far, and those reserved (>= computed).
  int num_computed() const { return num_computed_; }
  int num_reserved() const { return num_reserved_; }

  // REQUIRES: position < num_reserved().
  RowPointers Row(int layer, int kv_head, int position) const;
  // Appends the runs of positions [begin, end), in order, one for each container that they touch.
  // REQUIRES: end <= num_reserved().
  void AppendRuns(int layer, int kv_head, int begin, int end, std::vector<KvRun>* runs) const;

 private:
  // The positions of one container, beside each other in memory so that runs are found fast.
  struct Piece {
    std::byte* data;
    int begin;
    int capacity;
    int end() const { return begin + capacity; }
  };
  int capacity() const { return pieces_.empty() ? 0 : pieces_.back().end(); }
  absl::Status AppendBlock();
  void AppendBlock(std::shared_ptr<PromptBlock> block);
  absl::Status AppendPage();
  void AppendPiece(std::byte* data, int size);
  size_t Find(int position) const;  // its piece

  KvPool* const pool_;
  const int num_prompt_tokens_;
  const std::vector<int> sentence_ends_;
  size_t next_sentence_ = 0;  // the first whose end lies behind the blocks' end
  size_t num_sealed_ = 0;     // blocks, those that came written among them
  int num_computed_ = 0;
  int num_reserved_ = 0;
  std::vector<std::shared_ptr<PromptBlock>> given_;   // by sentence; null once they are in blocks_
  std::vector<std::shared_ptr<PromptBlock>> blocks_;  // of the prompt, in order
  std::vector<std::unique_ptr<SlotPage>> pages_;      // of generated tokens, in order
  std::vector<Piece> pieces_;                         // the blocks, then the pages
  std::vector<int> piece_of_unit_;                    // the piece of position i * kUnitTokens
};

}  // namespace skv::kv
