#pragma once
// The live part of one worker group, shared by the snapshots, the relays and membership.

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "router/balancer/picker.h"
#include "router/membership/group_client.h"

namespace skv::router {

// Thread-safe. Outlives its membership for as long as a relay uses it.
class Group {
 public:
  Group(GroupId id, std::string address, std::shared_ptr<GroupClient> client, TimePoint now);

  GroupId id() const { return id_; }
  const std::string& address() const { return address_; }
  GroupClient& client() { return *client_; }
  const std::shared_ptr<OutstandingTokens>& outstanding() const { return outstanding_; }

  // Notes a sign of life: an answered probe or an event of any stream.
  void MarkHeard(TimePoint now) { heard_.store(now, std::memory_order_relaxed); }
  TimePoint last_heard() const { return heard_.load(std::memory_order_relaxed); }

  // `on_lost` is called at most once, by LoseStreams, and not after Unwatch; it may run while
  // Unwatch is being called, so it must own what it touches.
  uint64_t Watch(std::function<void(const absl::Status&)> on_lost);
  void Unwatch(uint64_t watch_id);
  // Tells all watchers that this group is lost, and forgets them.
  void LoseStreams(const absl::Status& status);

  // Whether a stream is open, or tokens are waited for.
  bool InUse();

 private:
  const GroupId id_;
  const std::string address_;
  const std::shared_ptr<GroupClient> client_;
  const std::shared_ptr<OutstandingTokens> outstanding_;
  std::atomic<TimePoint> heard_;
  Mutex mutex_;
  uint64_t next_watch_id_ SKV_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, std::function<void(const absl::Status&)>> watchers_ SKV_GUARDED_BY(mutex_);
};

}  // namespace skv::router
