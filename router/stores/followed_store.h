#pragma once
// One store whose Watch the index of prefixes follows: what the store tells is what the cache has.

#include <atomic>
#include <compare>
#include <cstdint>
#include <memory>
#include <string>

#include "kvstore/watch/watch_client.h"
#include "router/balancer/cache_id.h"
#include "router/balancer/prefix_index.h"

namespace skv::router {

// What to follow: the same as long as all of it is.
struct StoreName {
  CacheId cache_id = kNoCache;  // under which the index knows the store
  std::string store_id;         // as workers report it: its epoch in hexadecimal digits
  std::string watch_address;    // host:port

  auto operator<=>(const StoreName&) const = default;  // NOLINT(modernize-use-nullptr)
};

// Totals of all stores that were ever followed. Outlives each of them.
struct WatchCounts {
  std::atomic<uint64_t> num_added{0};    // keys that became cached, those of snapshots included
  std::atomic<uint64_t> num_removed{0};  // keys that are not any more
  std::atomic<uint64_t> num_snapshots{0};
};

// Thread-safe.
class FollowedStore : private kvstore::WatchListener {
 public:
  // Begins at once.
  FollowedStore(StoreName name, std::shared_ptr<PrefixIndex> prefixes,
                std::shared_ptr<WatchCounts> counts);
  // Ends the call and waits for its end, which needs nobody's answer.
  ~FollowedStore() override = default;

  const StoreName& name() const { return name_; }

  enum class State {
    kFollowing,   // the index has what the store has told
    kConnecting,  // no answer, or the first snapshot is not complete
    kOther,       // another store answers than the workers use: as they have not reported the one
                  // that was started in its place, or the address is wrong. What it says is ignored
  };
  State state() const;

 private:
  void OnSnapshotBegin(const kvstore::StoreEpoch& epoch) override;
  // All layouts of a sentence are one key here: groups that share a store and a model have the same
  // one, unless they differ in ranks or backend.
  void OnAdded(const kvstore::EntryKey& key, uint32_t depth) override;
  void OnRemoved(const kvstore::EntryKey& key) override;
  void OnSnapshotEnd() override {}

  const StoreName name_;
  const std::shared_ptr<PrefixIndex> prefixes_;
  const std::shared_ptr<WatchCounts> counts_;
  std::atomic<bool> is_other_{false};
  kvstore::WatchClient client_;  // the last: it calls the others until it is gone
};

}  // namespace skv::router
