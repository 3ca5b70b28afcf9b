#include "router/membership/group_waiters.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace skv::router {

std::optional<uint64_t> GroupWaiters::Enter(uint64_t num_recoveries, TimePoint until, Waiter waiter,
                                            TimePoint again) {
  MutexLock lock(&mutex_);
  if (entries_.size() >= max_waiters_) return std::nullopt;
  entries_.emplace(next_id_, Entry{num_recoveries, until, std::move(waiter), again});
  return next_id_++;
}

void GroupWaiters::Leave(uint64_t id) {
  MutexLock lock(&mutex_);
  entries_.erase(id);
}

bool GroupWaiters::Wake(uint64_t num_recoveries, TimePoint now) {
  struct Call {
    uint64_t id;
    bool time_is_over;
    Waiter waiter;
  };
  std::vector<Call> calls;
  bool more_are_left = false;
  {
    MutexLock lock(&mutex_);
    for (auto& [id, entry] : entries_) {
      const bool time_is_over = now >= entry.until;
      const bool time_has_come = time_is_over || now >= entry.again;
      if (!time_has_come && entry.num_recoveries == num_recoveries) continue;
      more_are_left = calls.size() == kMaxCalls;
      if (more_are_left) break;
      entry.num_recoveries = num_recoveries;
      entry.again = TimePoint::max();
      calls.push_back({id, time_is_over, entry.waiter});
    }
    for (const Call& call : calls) {
      if (call.time_is_over) entries_.erase(call.id);
    }
  }
  for (const Call& call : calls) call.waiter(call.id, call.time_is_over);
  return more_are_left;
}

TimePoint GroupWaiters::next_call() const {
  MutexLock lock(&mutex_);
  TimePoint first = TimePoint::max();
  for (const auto& [id, entry] : entries_) first = std::min({first, entry.until, entry.again});
  return first;
}

size_t GroupWaiters::size() const {
  MutexLock lock(&mutex_);
  return entries_.size();
}

}  // namespace skv::router
