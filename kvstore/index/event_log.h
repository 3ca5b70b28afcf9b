#pragma once
// What became visible and what went, numbered from 1 on, for Watch. A bounded ring: a reader that
// fell behind is told to take a snapshot anew.
//
// To follow: note next_sequence(), read a snapshot of the entry table (EntryTable::ListAnnounced,
// in pieces), then Read from the noted number on. What changed during the snapshot is applied
// twice, which does no harm: sealed adds, evicted removes. Numbers begin anew with each process:
// who keeps them beyond a connection keeps the process's name beside them. Not thread-safe.

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kvstore/index/entry_key.h"

namespace skv::kvstore {

struct EntryEvent {
  enum class Kind : uint8_t { kSealed, kEvicted };
  Kind kind = Kind::kSealed;
  EntryKey key;
  uint32_t depth = 0;  // sentences before it in its chain
  bool operator==(const EntryEvent&) const = default;
};

class EventLog {
 public:
  // Keeps the last `capacity` (>= 1) events; all memory is made here.
  explicit EventLog(uint32_t capacity);

  void Append(absl::Span<const EntryEvent> events);

  // Appends to `events` up to `max_events` from number `sequence` on; the next Read is from
  // `sequence` + how many there were. None when `sequence` is next_sequence().
  //   FailedPrecondition  older than all that is kept: take a snapshot
  //   InvalidArgument     not yet given, as after a restart of the store, or 0: take a snapshot
  absl::Status Read(uint64_t sequence, uint32_t max_events, std::vector<EntryEvent>* events) const;

  // Of the event that comes next, and of the oldest that is kept.
  uint64_t next_sequence() const { return next_; }
  uint64_t first_sequence() const { return next_ - kept_; }
  uint32_t capacity() const { return static_cast<uint32_t>(ring_.size()); }

 private:
  std::vector<EntryEvent> ring_;  // number n lies at n % capacity
  uint64_t next_ = 1;
  uint64_t kept_ = 0;
};

}  // namespace skv::kvstore
