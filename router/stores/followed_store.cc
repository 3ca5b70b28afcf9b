#include "router/stores/followed_store.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "common/log.h"

namespace skv::router {
namespace {

std::string StoreId(const kvstore::StoreEpoch& epoch) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(epoch.data()), epoch.size()});
}

}  // namespace

FollowedStore::FollowedStore(StoreName name, std::shared_ptr<PrefixIndex> prefixes,
                             std::shared_ptr<WatchCounts> counts)
    : name_(std::move(name)),
      prefixes_(std::move(prefixes)),
      counts_(std::move(counts)),
      client_({.address = name_.watch_address}, this) {}

FollowedStore::State FollowedStore::state() const {
  const kvstore::WatchClientStatus status = client_.status();
  if (!status.is_connected || !status.is_complete) return State::kConnecting;
  return is_other_ ? State::kOther : State::kFollowing;
}

// Until the snapshot is whole too little is expected, and what requests that are under way promise
// is not, which costs as little as at a router's start.
void FollowedStore::OnSnapshotBegin(const kvstore::StoreEpoch& epoch) {
  counts_->num_snapshots.fetch_add(1, std::memory_order_relaxed);
  is_other_ = StoreId(epoch) != name_.store_id;
  if (is_other_) {
    SKV_LOG(INFO) << "store at " << name_.watch_address << " is " << StoreId(epoch)
                  << ", but workers use " << name_.store_id << ": what it says is ignored";
    return;
  }
  prefixes_->Clear(name_.cache_id);
}

void FollowedStore::OnAdded(const kvstore::EntryKey& key, uint32_t /*depth*/) {
  if (is_other_) return;
  counts_->num_added.fetch_add(1, std::memory_order_relaxed);
  prefixes_->Add(name_.cache_id, {&key.prefix, 1});
}

void FollowedStore::OnRemoved(const kvstore::EntryKey& key) {
  if (is_other_) return;
  counts_->num_removed.fetch_add(1, std::memory_order_relaxed);
  prefixes_->Remove(name_.cache_id, {&key.prefix, 1});
}

}  // namespace skv::router
