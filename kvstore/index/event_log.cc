#include "kvstore/index/event_log.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/log.h"

namespace skv::kvstore {

EventLog::EventLog(uint32_t capacity) : ring_(capacity) { SKV_CHECK(capacity >= 1); }

void EventLog::Append(absl::Span<const EntryEvent> events) {
  for (const EntryEvent& event : events) ring_[next_++ % ring_.size()] = event;
  kept_ = std::min<uint64_t>(kept_ + events.size(), ring_.size());
}

absl::Status EventLog::Read(uint64_t sequence, uint32_t max_events,
                            std::vector<EntryEvent>* events) const {
  if (sequence == 0 || sequence > next_) {
    return absl::InvalidArgumentError(
        absl::StrCat("watch: event ", sequence, " was never given, the next is ", next_));
  }
  if (sequence < first_sequence()) {
    return absl::FailedPreconditionError(absl::StrCat("watch: event ", sequence,
                                                      " is gone, the oldest is ", first_sequence(),
                                                      "; take a snapshot"));
  }
  const uint64_t end = std::min(next_, sequence + max_events);
  for (uint64_t i = sequence; i < end; ++i) events->push_back(ring_[i % ring_.size()]);
  return absl::OkStatus();
}

}  // namespace skv::kvstore
