#pragma once
// The event log between the thread that owns the store, which appends, and those that send events
// to Watch streams. Thread-safe; nobody holds its lock for longer than it takes to copy the events
// of one message.

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "kvstore/index/event_log.h"

namespace skv::kvstore {

class EventFeed {
 public:
  // Keeps the last `capacity` (>= 1) events.
  explicit EventFeed(uint32_t capacity) : capacity_(capacity), log_(capacity) {}

  void Append(absl::Span<const EntryEvent> events);
  // As EventLog::Read.
  absl::Status Read(uint64_t sequence, uint32_t max_events, std::vector<EntryEvent>* events) const;
  uint64_t next_sequence() const;

  // Waits for an Append or a Wake after the last Wait returned, until `deadline`. True: there are
  // events; not sooner than kBatchTime after it was last true, so that a busy store does not wake
  // the waiting thread thousands of times a second. One thread waits.
  static constexpr Duration kBatchTime = std::chrono::milliseconds(5);
  bool Wait(TimePoint deadline);
  void Wake();

  uint32_t num_kept() const;
  uint32_t capacity() const { return capacity_; }

 private:
  const uint32_t capacity_;
  mutable Mutex mutex_;
  CondVar changed_;
  bool has_news_ SKV_GUARDED_BY(mutex_) = false;  // an Append since Wait was true
  bool is_awake_ SKV_GUARDED_BY(mutex_) = false;  // a Wake since the last Wait
  TimePoint next_batch_ SKV_GUARDED_BY(mutex_);   // before then Wait is not true
  EventLog log_ SKV_GUARDED_BY(mutex_);
};

}  // namespace skv::kvstore
