#pragma once
// Streams that lost their worker group and found no other, until a group becomes healthy or their
// time is over. Membership owns them and calls them; they look for a group themselves.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include "common/clock.h"
#include "common/mutex.h"

namespace skv::router {

// Thread-safe.
class GroupWaiters {
 public:
  // Whose `id` it is looks for a group. While its time is not over it goes on waiting, unless it
  // leaves. When it is, the call is the last one, and it has left. May run while Leave is being
  // called, so it must own what it touches.
  using Waiter = std::function<void(uint64_t id, bool time_is_over)>;

  // Keeps so many at most.
  explicit GroupWaiters(size_t max_waiters) : max_waiters_(max_waiters) {}

  // `num_recoveries` is that of the cluster in which no group was found: the waiter is called once
  // there is a later one, also where that came before this call, and once at `again`. nullopt:
  // there are too many.
  std::optional<uint64_t> Enter(uint64_t num_recoveries, TimePoint until, Waiter waiter,
                                TimePoint again = TimePoint::max());
  // Nothing where it has left.
  void Leave(uint64_t id);

  // Calls who has not seen `num_recoveries`, or whose time has come: kMaxCalls of them, first come,
  // first called. True: more are left for the next call. From one thread.
  bool Wake(uint64_t num_recoveries, TimePoint now);

  // So that those who call see what the first ones did to the groups, and are not held up.
  static constexpr size_t kMaxCalls = 64;

  // When the time of the next one comes; max() when nobody waits.
  TimePoint next_call() const;
  size_t size() const;
  size_t max_size() const { return max_waiters_; }

 private:
  struct Entry {
    uint64_t num_recoveries = 0;  // seen
    TimePoint until;
    Waiter waiter;
    TimePoint again;
  };

  const size_t max_waiters_;
  mutable Mutex mutex_;
  uint64_t next_id_ SKV_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, Entry> entries_ SKV_GUARDED_BY(mutex_);  // by id: first come, first called
};

}  // namespace skv::router
