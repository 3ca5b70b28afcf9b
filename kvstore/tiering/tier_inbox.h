#pragma once
// What waits for the thread of one tier: chains to seek, which come first, and entries to write.
// Both are bounded. Thread-safe.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "kvstore/index/entry_key.h"
#include "kvstore/tiering/seek.h"

namespace skv::kvstore {

struct TierInboxLimits {
  size_t max_seeks = 64;
  // 560 KB of keys; at 460 KB a block 7 GB of the arena. 0: the tier is only read.
  size_t max_writes = 1 << 14;
};

// A snapshot; totals are since the start.
struct TierInboxGauges {
  size_t num_seeks = 0, num_writes = 0;
  uint64_t num_dropped_writes = 0;
};

class TierInbox {
 public:
  explicit TierInbox(const TierInboxLimits& limits) : limits_(limits) {}
  TierInbox(const TierInbox&) = delete;
  TierInbox& operator=(const TierInbox&) = delete;

  // False: as many wait as may.
  bool PushSeek(const Seek& seek);
  // The oldest of those that wait makes room. Nothing where the tier is only read.
  void PushWrite(const EntryKey& key);
  // Writes that could not be done yet: they come first again, as far as there is room.
  void PutBack(absl::Span<const EntryKey> keys);

  struct Work {
    std::optional<Seek> seek;
    std::vector<EntryKey> writes;  // none when there is a seek
  };
  // What comes next: a seek, or up to `max_writes` writes, but these not before `writes_from`.
  // Waits for it until `deadline`; nothing then. nullopt: Stop was called.
  std::optional<Work> Take(size_t max_writes, TimePoint writes_from, TimePoint deadline);
  void Stop();

  // Said by the tier's thread: whether the tier is there, and since when it has been waiting for an
  // answer (TimePoint::max(): it is not).
  void SetOn(bool is_on) { is_on_ = is_on; }
  void SetBusySince(TimePoint since) { busy_since_ = since; }
  // Whether it makes sense to seek here: the tier is on, or only read, and then it says itself when
  // it is tried again; and no call takes longer than `max_call`.
  bool IsUsable(TimePoint now, Duration max_call) const;

  TierInboxGauges gauges() const;
  const TierInboxLimits& limits() const { return limits_; }

 private:
  const TierInboxLimits limits_;
  std::atomic<bool> is_on_{true};
  std::atomic<TimePoint> busy_since_{TimePoint::max()};
  mutable Mutex mutex_;
  CondVar changed_;
  bool is_stopped_ SKV_GUARDED_BY(mutex_) = false;
  std::deque<Seek> seeks_ SKV_GUARDED_BY(mutex_);
  std::deque<EntryKey> writes_ SKV_GUARDED_BY(mutex_);
  uint64_t num_dropped_writes_ SKV_GUARDED_BY(mutex_) = 0;
};

}  // namespace skv::kvstore
