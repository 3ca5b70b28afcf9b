#pragma once
// One Watch reader's way through a snapshot and the events: what it is to be told next. Not
// thread-safe.
//
// What is told is a serial history: a page is told behind all events before its sequence and before
// all others, so a mirror that applies message after message is never wrong. Nothing is kept for a
// reader but one page: one that is slow falls behind the log.

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "kvstore/server/event_feed.h"
#include "kvstore/server/store_admin.h"
#include "kvstore/watch/watch_message.h"

namespace skv::kvstore {

class WatchCursor {
 public:
  static constexpr uint32_t kMaxEvents = 1024;  // of one message

  // Goes on from `position` where that is of `epoch` and the log still has what came since; else
  // with a snapshot. `feed` outlives this object.
  WatchCursor(const StoreEpoch& epoch, const WatchPosition& position, const EventFeed* feed);

  // Where the next page begins, while one is wanted: before Next can go on it needs OnPage.
  std::optional<EntryIdx> WantedPage() const;
  // REQUIRES: WantedPage() is that with which the page was read.
  void OnPage(SnapshotPage page);

  // Tells of events before `end`, and of others only as far as a page needs them. nullopt: nothing
  // for now. ResourceExhausted: the log no longer has what comes next.
  absl::StatusOr<std::optional<WatchMessage>> Next(uint64_t end);

  bool takes_snapshot() const { return takes_snapshot_; }
  // Of the event that it is told next; nullopt: its snapshot has not begun.
  std::optional<uint64_t> next_sequence() const { return next_sequence_; }
  // Events that this reader has not been told of.
  uint64_t lag() const;

 private:
  WatchMessage TakePage();
  absl::StatusOr<WatchMessage> ReadEvents(uint64_t end);

  const StoreEpoch epoch_;
  const EventFeed* const feed_;
  bool takes_snapshot_ = false;            // has, or had, to begin with one
  std::optional<EntryIdx> page_begin_;     // of the next page; nullopt: the snapshot is complete
  std::optional<SnapshotPage> page_;       // to be told
  std::optional<uint64_t> next_sequence_;  // of the next event; nullopt before the first page
  bool has_told_ = false;                  // a message
};

}  // namespace skv::kvstore
