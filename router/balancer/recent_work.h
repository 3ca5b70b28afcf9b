#pragma once
// What each group was given to compute of late: a sum in which a request counts less with each one
// that comes after it, so that there is no clock in it. Thread-safe.

#include <cstddef>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/mutex.h"
#include "router/balancer/picker.h"

namespace skv::router {

class RecentWork {
 public:
  // One of `num_groups` (>= 1) gets a request of which it has to compute so many tokens. A sum is
  // in effect that of a group's last 12 requests.
  void Add(GroupId group, int64_t tokens, size_t num_groups);

  // For each of `groups`; 0 for one that was given nothing.
  std::vector<int64_t> Read(std::span<const GroupId> groups) const;

 private:
  mutable Mutex mutex_;
  // Shares of a unit that grows, in place of sums that shrink. Groups of less than a token are
  // forgotten now and then: those that are gone do not stay.
  absl::flat_hash_map<GroupId, double> shares_ SKV_GUARDED_BY(mutex_);
  double unit_ SKV_GUARDED_BY(mutex_) = 1;
};

}  // namespace skv::router
