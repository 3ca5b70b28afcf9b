#pragma once
// The memory that the ranks of a ShmCommunicator share: its layout, how ranks find each other in
// it, who is alive, and the one error that breaks it.
//
//   SegmentHeader | RankLines x world_size | slots: world_size x 2 x kSlotBytes
//
// Each rank holds an open-file-description lock on byte `rank` of the file for as long as it lives.
// The kernel drops it however the process ends, so liveness needs no pids (which are reused, and
// differ between containers) and a left-over file is told from a live one.
// A rank must not fork without exec afterwards: the child would keep the lock.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "worker/comm/shm_communicator.h"

namespace skv::comm {

inline constexpr size_t kSlotBytes = 64 << 10;

enum class BreakState : int32_t { kWhole = 0, kBreaking = 1, kBroken = 2 };

struct BreakRecord {
  std::atomic<int32_t> state;  // BreakState; the fields below are valid once it is kBroken
  int32_t code;                // absl::StatusCode
  char message[1016];          // ends with NUL
};

struct SegmentHeader {
  uint64_t magic;
  uint32_t version;
  int32_t world_size;
  uint64_t num_bytes;  // of the whole segment
  uint32_t fingerprint_size;
  char fingerprint[kMaxFingerprintBytes];
  alignas(64) std::atomic<int32_t> num_joined;
  std::atomic<int32_t> is_ready;  // 1: all have joined, the path is gone
  alignas(64) BreakRecord broken;
};

// What one rank publishes. The line that peers poll holds nothing that peers write.
struct RankLines {
  alignas(64) std::atomic<int32_t> round;         // the last round that this rank has entered
  uint64_t tag[2];                                // by parity of the round: what call it belongs to
  alignas(64) std::atomic<int32_t> num_sleeping;  // peers asleep on `round`
  std::atomic<int32_t> has_joined;
  int32_t pid;  // for messages only
};

class ShmSegment {
 public:
  // See JoinShmGroup.
  static absl::StatusOr<std::unique_ptr<ShmSegment>> Join(const ShmOptions& options);
  ~ShmSegment();
  ShmSegment(const ShmSegment&) = delete;
  ShmSegment& operator=(const ShmSegment&) = delete;

  int world_size() const { return header_->world_size; }
  RankLines& lines(int rank) const { return lines_[rank]; }
  // Where `rank` puts its part of a round of this parity; kSlotBytes, aligned to 64.
  char* slot(int rank, uint32_t round) const {
    return slots_ + (static_cast<size_t>(rank) * 2 + (round & 1)) * kSlotBytes;
  }

  // False once the process of `rank` has ended or left.
  bool IsAlive(int rank) const;
  // "rank 1 (pid 4711)".
  std::string Describe(int rank) const;

  // OK until somebody breaks the group. A single load while it is whole.
  absl::Status CheckWhole() const;
  // Breaks the group for all ranks unless it is broken already; returns the error that broke it.
  absl::Status Break(absl::StatusCode code, std::string_view message);

 private:
  ShmSegment(int fd, void* memory, const ShmOptions& options);

  static absl::StatusOr<std::unique_ptr<ShmSegment>> Create(const ShmOptions& options);
  static absl::StatusOr<std::unique_ptr<ShmSegment>> Open(const ShmOptions& options,
                                                          TimePoint deadline);
  static absl::StatusOr<std::unique_ptr<ShmSegment>> Adopt(int fd, const ShmOptions& options);
  absl::Status Compare(const ShmOptions& options);
  absl::Status AwaitAll(TimePoint deadline);
  absl::Status CheckNobodyDied();
  absl::Status FailJoin();
  void Unlink() const;
  void WakeAll();

  const int fd_;
  const ShmOptions options_;
  SegmentHeader* const header_;
  RankLines* const lines_;
  char* const slots_;
};

}  // namespace skv::comm
