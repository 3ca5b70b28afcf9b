#pragma once
// How prompts reuse what others computed (prefix caching), on the leader's rank; all zeros where
// nothing is reused.

#include <array>
#include <cstdint>

namespace skv::engine {

struct PrefixStats {
  // Since the start. A prompt is counted when its request starts, once however often it was looked
  // up while it waited; after an eviction again.
  int64_t looked_up_tokens = 0;  // of prompts that were looked up, whole
  int64_t hit_tokens = 0;        // of these, the ones taken from the cache
  int64_t waits = 0;             // requests that waited for a prefix that another computes
  int64_t stored_blocks = 0;     // computed blocks of prompts that others may find
  int64_t private_blocks = 0;    // those that found no place in the store
  int64_t num_failures = 0;      // requests to the store, and items of them, that failed
  int64_t num_corrupt_blocks = 0;
  int64_t num_verified_blocks = 0;   // that were computed again and compared
  int64_t num_different_blocks = 0;  // of these, the ones that the store had otherwise

  // Now.
  int num_held = 0;                          // requests that wait as above
  bool is_shared = false;                    // other processes use the same store
  std::array<uint8_t, 16> store_epoch = {};  // of that one, drawn when it started; else zeros
  int64_t num_leases = 0;                    // of blocks and chains in it
  int64_t mapped_bytes = 0;                  // of it, in this rank's address space
  int64_t own_bytes = 0;                     // of blocks that lie in memory of this process
};

}  // namespace skv::engine
