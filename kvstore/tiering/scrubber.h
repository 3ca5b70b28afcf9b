#pragma once
// The thread that compares blocks in the arena with their checksums: again and again all that are
// visible, at a bounded rate; once more all of them, faster, when an operator asks for it (a
// verification); and those that a client says are damaged. An entry with a damaged
// block is dropped, and can be written anew. What a client says is only where to look, so it can
// cost others no more than that rate.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "kvstore/tiering/tier_desk.h"

namespace skv::kvstore {

struct ScrubberOptions {
  // Of blocks' bytes. 0: only what is reported is checked, at kReportRate.
  uint64_t bytes_per_second = 64 << 20;
  size_t max_reports = 4096;  // keys that wait; further ones are dropped
};

// A snapshot; totals are since the start.
struct ScrubberGauges {
  uint64_t num_checked_bytes = 0;
  uint64_t num_rounds = 0;           // walks over all entries
  uint64_t num_damaged_entries = 0;  // dropped
  uint64_t num_reports = 0;          // keys
  uint64_t num_dropped_reports = 0;
  size_t num_waiting_reports = 0;
};

// How far the last verification is. A snapshot.
struct Verification {
  static constexpr size_t kMaxNamed = 100;

  uint64_t id = 0;  // counts from 1; 0: there was none
  bool is_running = false;
  uint64_t num_entries = 0, num_bytes = 0;  // compared
  uint64_t num_damaged_entries = 0;         // of them, dropped
  std::vector<EntryKey> damaged;            // the first kMaxNamed of these
  uint64_t num_skipped_entries = 0;         // not compared: the store had no lease for them
  // Of the table, places without entries included: how far it is, and of how many when it last
  // looked.
  uint64_t num_walked_places = 0, num_places = 0;
};

class Scrubber {
 public:
  static constexpr uint64_t kReportRate = 64 << 20;
  static constexpr uint64_t kVerifyRate = 1 << 30;
  // Between walks, and between looks at places of the table that have no entries.
  static constexpr Duration kRoundPause = std::chrono::seconds(10);
  static constexpr Duration kMinPause = std::chrono::milliseconds(10);
  // Of a verification: between looks at entries that no lease was left for, and how long after the
  // first such look. What is not leased then, and later, is skipped.
  static constexpr Duration kRefusedPause = std::chrono::milliseconds(100);
  static constexpr Duration kRefusedTime = std::chrono::seconds(10);

  // `owner` and `clock` outlive this.
  Scrubber(const ScrubberOptions& options, StoreOwner* owner, const Clock* clock);
  // REQUIRES: stopped, or not started.
  ~Scrubber();
  Scrubber(const Scrubber&) = delete;
  Scrubber& operator=(const Scrubber&) = delete;

  void Start();
  void Stop();

  // A client found these damaged. Thread-safe.
  void Report(absl::Span<const EntryKey> keys);

  // Begins a verification of all that is there now, and returns its id. ResourceExhausted: one is
  // running. Thread-safe.
  absl::StatusOr<uint64_t> Verify();
  Verification verification() const;  // thread-safe

  // What Start's thread does again and again: what is reported, else a piece of the verification or
  // of the walk, once its time has come, for which it waits until `deadline`, of the machine's
  // clock. False: stopped.
  bool Step(TimePoint deadline);

  ScrubberGauges gauges() const;  // thread-safe
  const ScrubberOptions& options() const { return options_; }

 private:
  struct Pace {
    uint64_t bytes_per_second;
    Duration min_pause;
  };
  // Of a verification.
  struct VerifiedPiece {
    std::vector<HeldEntry> held;
    std::vector<EntryKey> damaged;
    size_t num_refused = 0;
    std::optional<EntryIdx> next;
    uint32_t num_places = 0;
  };
  void Walk();
  void VerifyNext(EntryIdx begin);
  bool IsWorthRetrying(uint64_t verification);
  void NoteVerified(const VerifiedPiece& piece);
  bool IsReportsTurn() const SKV_REQUIRES(mutex_);
  std::optional<EntryIdx> NextToVerify() const;
  std::vector<EntryKey> Check(const std::vector<HeldEntry>& held, const Pace& pace);
  bool WaitForWork(TimePoint deadline, std::vector<EntryKey>* reported);

  const ScrubberOptions options_;
  StoreOwner* const owner_;
  const Clock* const clock_;
  // Of the thread:
  EntryIdx next_ = 0;  // of the walk
  TimePoint check_from_ = TimePoint::min();
  TimePoint walk_from_ = TimePoint::min();
  bool was_report_ = false;  // the last check was of what is reported
  // Of the verification with this id, once it was refused a lease.
  uint64_t refused_verification_ = 0;
  TimePoint retry_until_;
  std::thread thread_;
  mutable Mutex mutex_;
  CondVar changed_;
  bool is_stopped_ SKV_GUARDED_BY(mutex_) = false;
  std::deque<EntryKey> reports_ SKV_GUARDED_BY(mutex_);
  Verification verification_ SKV_GUARDED_BY(mutex_);
  std::optional<EntryIdx> verify_next_ SKV_GUARDED_BY(mutex_);  // while it runs
  ScrubberGauges gauges_ SKV_GUARDED_BY(mutex_);
};

}  // namespace skv::kvstore
