#include "kvstore/server/event_feed.h"

#include <algorithm>
#include <utility>

namespace skv::kvstore {

void EventFeed::Append(absl::Span<const EntryEvent> events) {
  if (events.empty()) return;
  const MutexLock lock(&mutex_);
  log_.Append(events);
  if (std::exchange(has_news_, true)) return;
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

bool EventFeed::Wait(TimePoint deadline) {
  const MutexLock lock(&mutex_);
  changed_.WaitUntil(&mutex_, deadline, [this] { return has_news_ || is_awake_; });
  changed_.WaitUntil(&mutex_, std::min(deadline, next_batch_), [this] { return is_awake_; });
  is_awake_ = false;
  const TimePoint now = RealClock().Now();
  if (!has_news_ || now < next_batch_) return false;
  has_news_ = false;
  next_batch_ = now + kBatchTime;
  return true;
}

void EventFeed::Wake() {
  const MutexLock lock(&mutex_);
  is_awake_ = true;
  changed_.NotifyOne();
}

uint32_t EventFeed::num_kept() const {
  const MutexLock lock(&mutex_);
  return static_cast<uint32_t>(log_.next_sequence() - log_.first_sequence());
}

}  // namespace skv::kvstore
