#pragma once
// A trace against a cache of one size: the store's own entry table with an eviction order, or
// Belady's choice, which knows the future.

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "bench/kvstore/trace.h"
#include "kvstore/index/eviction_order.h"

namespace skv::bench {

struct MissCount {
  int64_t asked_bytes = 0, missed_bytes = 0;
  int64_t asked_blocks = 0, missed_blocks = 0;

  double byte_ratio() const { return static_cast<double>(missed_bytes) / asked_bytes; }
  double block_ratio() const { return static_cast<double>(missed_blocks) / asked_blocks; }
};

// A prompt's first request for a sentence is a miss too. One prompt after the other: a session
// leases the prefix that is there, creates, places and seals the rest, then releases all of it.
MissCount Replay(
    const Trace& trace, int64_t capacity_bytes,
    absl::FunctionRef<std::unique_ptr<kvstore::EvictionOrder>(const kvstore::OrderOptions&)>
        create_order);

// After each prompt, what is asked for again last goes first, and what is never asked for again at
// once. That keeps chains whole by itself: a parent is asked for whenever its child is, so it is
// never farther away; of equals the deeper goes. A bound for blocks of one size; with sizes the
// best offline choice is NP-hard and may miss slightly less. The prompt being computed takes no
// room here until it is done.
MissCount ReplayBelady(const Trace& trace, int64_t capacity_bytes);

}  // namespace skv::bench
