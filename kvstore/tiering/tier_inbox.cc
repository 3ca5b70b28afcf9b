#include "kvstore/tiering/tier_inbox.h"

#include <algorithm>
#include <utility>

namespace skv::kvstore {

bool TierInbox::PushSeek(const Seek& seek) {
  const MutexLock lock(&mutex_);
  if (is_stopped_ || seeks_.size() >= limits_.max_seeks) return false;
  seeks_.push_back(seek);
  changed_.NotifyOne();
  return true;
}

void TierInbox::PushWrite(const EntryKey& key) {
  if (limits_.max_writes == 0) return;
  const MutexLock lock(&mutex_);
  if (writes_.size() >= limits_.max_writes) {
    writes_.pop_front();
    ++num_dropped_writes_;
  }
  writes_.push_back(key);
  changed_.NotifyOne();
}

void TierInbox::PutBack(absl::Span<const EntryKey> keys) {
  const MutexLock lock(&mutex_);
  const size_t num_kept = std::min(keys.size(), limits_.max_writes - writes_.size());
  num_dropped_writes_ += keys.size() - num_kept;
  writes_.insert(writes_.begin(), keys.end() - static_cast<ptrdiff_t>(num_kept), keys.end());
}

std::optional<TierInbox::Work> TierInbox::Take(size_t max_writes, TimePoint writes_from,
                                               TimePoint deadline) {
  const MutexLock lock(&mutex_);
  const auto is_ready = [&]() SKV_REQUIRES(mutex_) { return is_stopped_ || !seeks_.empty(); };
  const auto may_work = [&]() SKV_REQUIRES(mutex_) { return is_ready() || !writes_.empty(); };
  // First for seeks only, then for writes, too.
  changed_.WaitUntil(&mutex_, std::min(writes_from, deadline), is_ready);
  if (writes_from < deadline) changed_.WaitUntil(&mutex_, deadline, may_work);
  if (is_stopped_) return std::nullopt;
  Work work;
  if (!seeks_.empty()) {
    work.seek = std::move(seeks_.front());
    seeks_.pop_front();
  } else if (writes_from < deadline) {
    const auto end = writes_.begin() + static_cast<ptrdiff_t>(std::min(max_writes, writes_.size()));
    work.writes.assign(writes_.begin(), end);
    writes_.erase(writes_.begin(), end);
  }
  return work;
}

void TierInbox::Stop() {
  const MutexLock lock(&mutex_);
  is_stopped_ = true;
  changed_.NotifyAll();
}

bool TierInbox::IsUsable(TimePoint now, Duration max_call) const {
  const TimePoint since = busy_since_;
  // Writes find out when a tier is back; where there are none, seeks must.
  const bool may_be_on = is_on_ || limits_.max_writes == 0;
  return may_be_on && (since == TimePoint::max() || now - since <= max_call);
}

TierInboxGauges TierInbox::gauges() const {
  const MutexLock lock(&mutex_);
  return {.num_seeks = seeks_.size(),
          .num_writes = writes_.size(),
          .num_dropped_writes = num_dropped_writes_};
}

}  // namespace skv::kvstore
