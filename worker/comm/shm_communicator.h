#pragma once
// Collectives between processes of one host over a shared memory segment: ranks spin, then yield,
// then sleep on a futex. A peer that dies is noticed within 0.1 s, one that only stops at the
// time-out. Every collective is flat and chunked: each rank writes its part once and reads every
// other rank's, which moves no more bytes than reduce-scatter and all-gather up to 3 ranks.

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/comm/communicator.h"

namespace skv::comm {

inline constexpr int kMaxShmRanks = 64;
inline constexpr size_t kMaxFingerprintBytes = 1024;
inline constexpr size_t kMaxBroadcastBytes = size_t{256} << 20;

struct ShmOptions {
  // The rendezvous: a file that rank 0 creates and removes again as soon as all have joined. Equal
  // on all ranks, different for each group, on a file system in memory such as /dev/shm. A file
  // that a dead rank 0 left behind is replaced.
  std::string path;
  int rank = 0;
  int world_size = 1;
  // What all ranks must agree on (model, flags, arithmetic), as text: it is shown where it differs.
  std::string fingerprint;
  std::chrono::milliseconds join_timeout{30'000};
  // Bounds AllReduceSum and Gather; Broadcast brings its own.
  std::chrono::milliseconds call_timeout{30'000};
  // Longest busy wait before giving the core away; less where earlier waits show that it is wasted.
  std::chrono::nanoseconds max_spin = std::chrono::microseconds(50);
};

// Waits until all ranks have joined.
//   InvalidArgument     options out of range, or the rendezvous folder cannot hold a segment
//   FailedPrecondition  ranks disagree on world size, fingerprint or build; a rank joined twice; or
//                       the path belongs to another group or to something else
//   Unavailable         the join time-out passed (names the missing ranks), or a rank has died
absl::StatusOr<std::unique_ptr<Communicator>> JoinShmGroup(const ShmOptions& options);

}  // namespace skv::comm
