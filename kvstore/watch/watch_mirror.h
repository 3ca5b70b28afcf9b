#pragma once
// Turns what a store says into what was added and what is gone, and knows where to go on after a
// call was cut off. Holds no keys: that is the listener's part. Not thread-safe.

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "kvstore/watch/watch_message.h"

namespace skv::kvstore {

// A set of keys that follows a store. What is added may be there already, what is removed may not
// be.
class WatchListener {
 public:
  virtual ~WatchListener() = default;
  // All that was added so far is in doubt: what is not added again by OnSnapshotEnd is gone.
  // Another OnSnapshotBegin may come in its place: then the same counts from there. All that comes
  // until the next one is of the store that drew `epoch`.
  virtual void OnSnapshotBegin(const StoreEpoch& epoch) = 0;
  // `depth`: sentences before it in its chain.
  virtual void OnAdded(const EntryKey& key, uint32_t depth) = 0;
  virtual void OnRemoved(const EntryKey& key) = 0;
  virtual void OnSnapshotEnd() = 0;
};

class WatchMirror {
 public:
  // `listener` outlives this object.
  explicit WatchMirror(WatchListener* listener) : listener_(listener) {}

  // What to ask for in a call that begins now. The messages that come next are that call's.
  WatchPosition BeginCall();

  // InvalidArgument: not what can follow. The listener has heard nothing of the message; the call
  // is to be ended, and the next one brings a snapshot.
  absl::Status OnMessage(const WatchMessage& message);

  // The listener has a whole snapshot, and all events that have come since.
  bool is_complete() const { return position_.next_sequence != 0; }

 private:
  absl::Status Check(const WatchMessage& message) const;
  absl::Status CheckPage(const WatchMessage& page) const;
  absl::Status CheckEvents(const WatchMessage& message) const;
  absl::Status CheckSequence(uint64_t sequence) const;
  void OnPage(const WatchMessage& page);
  void OnEvents(const WatchMessage& message);

  WatchListener* const listener_;
  WatchPosition position_;
  bool in_snapshot_ = false;
  std::optional<uint64_t> expected_;  // sequence of the next event, once it is known
};

}  // namespace skv::kvstore
