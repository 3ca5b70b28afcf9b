#pragma once
// The limits that a scheduler keeps.

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"

namespace skv::scheduler {

struct SchedulerOptions {
  int64_t capacity_tokens = 0;  // KV tokens to give away: 0.9 of the pool
  std::string_view capacity_flag = "--kv-cache-memory-bytes";  // named when something does not fit
  int unit_tokens = 1;  // a sentence of a prompt takes whole units of so many tokens
  int page_tokens = 1;  // what a sample generates takes whole pages
  // Working sets (capacity.h); 0: rows are read in place and nothing is counted.
  double working_set_factor = 0;
  int64_t capacity_slots = 0;
  int max_num_seqs = 256;            // sequences that run at once (--max-num-seqs)
  int max_num_batched_tokens = 512;  // tokens of a step (--max-num-batched-tokens)
  int max_chunk_tokens = 512;        // of one sequence in a step
  int max_queue = 1024;              // requests that wait (--max-queue)

  // InvalidArgument names the flag. max_num_batched_tokens >= max_num_seqs, so that no decode
  // waits.
  absl::Status Validate() const;
};

}  // namespace skv::scheduler
