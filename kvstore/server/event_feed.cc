#include "kvstore/server/event_feed.h"

namespace skv::kvstore {

void EventFeed::Append(absl::Span<const EntryEvent> events) {
  if (events.empty()) return;
  const MutexLock lock(&mutex_);
  log_.Append(events);
  is_changed_ = true;
  changed_.NotifyOne();
}

absl::Status EventFeed::Read(uint64_t sequence, uint32_t max_events,
                             std::vector<EntryEvent>* events) const {
  const MutexLock lock(&mutex_);
  return log_.Read(sequence, max_events, events);
}

uint64_t EventFeed::next_sequence() const {
  const MutexLock lock(&mutex_);
  return log_.next_sequence();
}

void EventFeed::Wait(TimePoint deadline) {
  const MutexLock lock(&mutex_);
  changed_.WaitUntil(&mutex_, deadline, [this] { return is_changed_; });
  is_changed_ = false;
}

void EventFeed::Wake() {
  const MutexLock lock(&mutex_);
  is_changed_ = true;
  changed_.NotifyOne();
}

uint32_t EventFeed::num_kept() const {
  const MutexLock lock(&mutex_);
  return static_cast<uint32_t>(log_.next_sequence() - log_.first_sequence());
}

}  // namespace skv::kvstore
