#pragma once
// A full arena under churn: blocks of sentences come, others are evicted to make room, for as long
// as is asked. Measures how much of the arena holds live blocks, and what a call of BlockAllocator
// costs. No memory is touched but the allocator's.

#include <cstdint>
#include <string>
#include <vector>

namespace skv::bench {

struct ChurnOptions {
  uint64_t arena_bytes = uint64_t{4} << 30;
  int64_t num_operations = 1000000;  // calls of Allocate and Free
  // Bytes of a token, one for each layout that shares the arena.
  std::vector<uint64_t> token_bytes = {23040};
  // Tokens of sentences, 1 to 128 each; every block has those of one of them, drawn at random.
  // Empty: 4 to 128, mean 20, skewed to the right.
  std::vector<int> sentence_tokens;
  // False: every block draws one of token_bytes. True: the run has as many phases as there are
  // layouts, each with one of them, so that an arena full of one kind has to take another.
  bool one_layout_at_a_time = false;
  // "random", "oldest", or "second-chance": the oldest, of which 3 in 10 go round once more.
  std::string eviction = "random";
  // While less of the arena is live, a victim that does not make room for a block has its hole
  // widened, by evicting the smaller of the hole's neighbours until the block fits; otherwise the
  // next victim is evicted. 0: never widened; 1: always.
  double widen_below = 0.95;
  // Of all blocks, drawn anew every 65,536 operations: neither victims nor neighbours that can go.
  double leased_share = 0;
  uint64_t seed = 1;
};

// Over all moments after which the arena was first full.
struct Share {
  double min = 1;
  double sum = 0;
  int64_t count = 0;
  void Add(double value);
  double mean() const { return count == 0 ? 1 : sum / static_cast<double>(count); }
};

struct ChurnResult {
  Share live_of_committed;        // after each call
  Share live_of_arena;            // after each call
  Share live_of_arena_when_full;  // when a block finds no room, before anything is evicted
  int64_t num_allocated = 0;
  int64_t num_refused = 0;  // blocks that found no room among leased ones
  int64_t num_evicted = 0;
  int64_t num_evicted_as_victims = 0;  // the others were neighbours of victims
  double mean_block_bytes = 0;         // of those allocated
  double mean_live_blocks = 0;         // while the arena is full
  // CPU time of the same calls on a second allocator, without the simulation around them.
  double ns_per_operation = 0;
};

// REQUIRES: options.token_bytes is not empty, the arena holds a block of 128 tokens of each.
ChurnResult RunChurn(const ChurnOptions& options);

}  // namespace skv::bench
