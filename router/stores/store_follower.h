#pragma once
// Follows the stores that worker groups keep their prompts in: the index of prefixes hears what
// they have, whichever router's requests it came from, and what they evict. Nothing else depends on
// it: a store that does not answer, or of which no group says where it can be followed, is known by
// what this router sends.
//
// A thread of its own looks at the groups and begins and ends calls, so that neither requests nor
// probes ever wait for a store.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "router/membership/cluster.h"
#include "router/membership/membership.h"
#include "router/stores/followed_store.h"

namespace skv::router {

struct StoreFollowerOptions {
  Duration period = std::chrono::milliseconds(250);
  size_t max_stores = 256;  // further ones are not followed
};

// A snapshot; totals are since the start.
struct StoreFollowerStats {
  int num_following = 0, num_connecting = 0, num_other = 0;  // as FollowedStore::State
  int num_refused = 0;                                       // beyond max_stores
  // The longest that one of them has not been kFollowing.
  Duration max_outage{};
  uint64_t num_added = 0, num_removed = 0, num_snapshots = 0;  // total
};

class StoreFollower {
 public:
  // `prefixes` is that of the membership, and not null.
  StoreFollower(const StoreFollowerOptions& options, std::shared_ptr<PrefixIndex> prefixes);
  ~StoreFollower();  // ends all calls
  StoreFollower(const StoreFollower&) = delete;
  StoreFollower& operator=(const StoreFollower&) = delete;

  // Looks at the membership once a period, from a thread. `membership` outlives this object. At
  // most once.
  void Start(const Membership* membership);

  // One look. Without Start only; from one thread.
  void Update(const Cluster& cluster);

  // Thread-safe.
  StoreFollowerStats stats() const;

 private:
  struct Follow {
    std::unique_ptr<FollowedStore> store;
    TimePoint last_followed;
  };

  std::set<StoreName> Choose(const Cluster& cluster);
  void Run(const Membership* membership);

  const StoreFollowerOptions options_;
  const std::shared_ptr<PrefixIndex> prefixes_;
  const std::shared_ptr<WatchCounts> counts_ = std::make_shared<WatchCounts>();

  mutable Mutex mutex_;
  CondVar stopping_;
  bool is_stopping_ SKV_GUARDED_BY(mutex_) = false;
  std::vector<Follow> follows_ SKV_GUARDED_BY(mutex_);  // changed by the updating thread only
  int num_refused_ SKV_GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

}  // namespace skv::router
