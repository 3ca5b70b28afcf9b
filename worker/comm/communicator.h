#pragma once
// Collectives of one rank group. Sums run in rank order ((r0 + r1) + r2), so that their bits do not
// depend on timing; those of the model's products are exact besides (docs/arithmetic.md). Every
// call is made by all ranks in the same order, from one thread per rank, and ends by the
// communicator's deadline: a peer that does not arrive in time gives Aborted and breaks the
// communicator for good (every later call fails at once with the first error).

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"

namespace skv::comm {

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int world_size() const = 0;

  // In place: data[i] = sum over ranks, in rank order, on every rank.
  virtual absl::Status AllReduceSum(float* data, size_t count) = 0;
  virtual absl::Status AllReduceSum(double* data, size_t count) = 0;

  // Rank 0's `message` reaches every rank's `message`. Waits at most `timeout_ms` for it (idle
  // followers wait here between steps).
  virtual absl::Status Broadcast(std::string* message, int timeout_ms) = 0;

  // Rank 0's `out` gets the shards one after another in rank order; counts[r] floats from rank r
  // (counts has world_size entries, equal on all ranks). Other ranks pass out = nullptr.
  virtual absl::Status Gather(const float* shard, const size_t* counts, float* out) = 0;

  // Breaks the communicator: peers waiting in a call return Aborted with `why`. Any thread.
  virtual void Abort(const absl::Status& why) = 0;
};

}  // namespace skv::comm
