#pragma once
// S3-FIFO (Yang et al., SOSP 2023): what is new waits in a small queue and goes from its end unless
// it was used there; what was used, or comes back soon after it went, lies in the main queue, which
// is a clock of up to 3 rounds. A scan passes through the small queue only.
//
// Different from the paper, each measured with bench/kvstore (mean byte miss ratio over that of
// LRU; worst cell against LRU, in points) on seeds other than its default:
//   chains    what is blocked at the end of its queue is parked and counts there until its last
//             child is gone; then it is the next to go. A parked parent that is used moves on to
//             the main queue, so that what is new keeps its room.
//   uses      one use in the small queue is enough for the main one, not two: 0.950 -> 0.942.
//   adaptive  the share of the small queue follows what either queue would gain by more room:
//             the bytes that come back within the same window behind its end. A conversation comes
//             back once, after longer than a tenth of the cache: 0.942 -> 0.935, +12.8 -> +1.8.

#include <cstdint>
#include <memory>

#include "kvstore/index/eviction_order.h"

namespace skv::kvstore {

// Fractions are of the bytes of a partition, that of ghosts of all partitions, which share them.
struct S3FifoOptions {
  double small_fraction = 0.1;  // for the small queue, at first and at least
  double max_small_fraction = 0.9;
  int promote_uses = 1;         // 1 to 3 in the small queue lead to the main one
  double ghost_fraction = 0.9;  // evicted from the small queue, whose keys are remembered
  // Bytes that come back within this fraction behind the end of a queue move room to it, `gain`
  // times as many. Gain 0: the shares are fixed, and nothing is remembered of the main queue.
  double window_fraction = 0.05;
  double gain = 4;
  uint32_t max_ghosts = 0;  // remembered keys of either queue; 0: max_entries

  // As in the paper.
  static S3FifoOptions Paper() { return {.promote_uses = 2, .gain = 0}; }
};

std::unique_ptr<EvictionOrder> CreateS3FifoOrder(const OrderOptions& options,
                                                 const S3FifoOptions& s3fifo = {});

}  // namespace skv::kvstore
