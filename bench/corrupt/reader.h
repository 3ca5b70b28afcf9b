#pragma once
// Reads blocks as a worker does, checks included, and compares what it is given with the truth.

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "bench/corrupt/block_series.h"

namespace skv::corrupt {

struct ReadCounts {
  int64_t num_right = 0;
  int64_t num_wrong = 0;  // another byte, or number of tokens
  int64_t num_missed = 0;
  uint64_t num_corrupt = 0;  // that the client has counted
};

// In a session of its own, each block once. With `waits`, what was missed is waited for, as it may
// come from a tier, and asked for once more. Of errors only those of the session.
absl::StatusOr<ReadCounts> ReadBlocks(const std::string& socket, const BlockSeries& series,
                                      Numbers numbers, bool waits);

}  // namespace skv::corrupt
