#include "router/stores/store_follower.h"

#include <algorithm>
#include <map>
#include <utility>

#include "common/log.h"

namespace skv::router {

StoreFollower::StoreFollower(const StoreFollowerOptions& options,
                             std::shared_ptr<PrefixIndex> prefixes)
    : options_(options), prefixes_(std::move(prefixes)) {}

StoreFollower::~StoreFollower() {
  {
    MutexLock lock(&mutex_);
    is_stopping_ = true;
    stopping_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void StoreFollower::Start(const Membership* membership) {
  SKV_CHECK(!thread_.joinable());
  thread_ = std::thread([this, membership] { Run(membership); });
}

void StoreFollower::Run(const Membership* membership) {
  while (true) {
    Update(*membership->snapshot());
    MutexLock lock(&mutex_);
    stopping_.WaitUntil(&mutex_, RealClock().Now() + options_.period,
                        [this] { return is_stopping_; });
    if (is_stopping_) return;
  }
}

// Of several addresses of one store the smallest: following it twice would tell nothing more.
std::set<StoreName> StoreFollower::Choose(const Cluster& cluster) {
  std::map<CacheId, StoreName> by_cache;
  for (const auto& [id, group] : cluster.groups) {
    if (group.store_id.empty() || group.store_watch_address.empty()) continue;
    const StoreName name{group.cache_id, group.store_id, group.store_watch_address};
    const auto [it, is_new] = by_cache.emplace(group.cache_id, name);
    if (!is_new) it->second = std::min(it->second, name);
  }
  std::set<StoreName> chosen;
  for (auto& [cache, name] : by_cache) {
    if (chosen.size() < options_.max_stores) chosen.insert(std::move(name));
  }
  const int num_refused = static_cast<int>(by_cache.size() - chosen.size());
  if (num_refused > 0) {
    SKV_LOG_EVERY_SECONDS(WARNING, 60)
        << "stores: " << num_refused << " more than " << options_.max_stores
        << " are not followed: the router does not hear what they evict";
  }
  MutexLock lock(&mutex_);
  num_refused_ = num_refused;
  return chosen;
}

void StoreFollower::Update(const Cluster& cluster) {
  std::set<StoreName> missing = Choose(cluster);
  const TimePoint now = RealClock().Now();
  std::vector<Follow> gone;  // ends its calls when nobody waits for the lock
  MutexLock lock(&mutex_);
  const auto first_gone =
      std::partition(follows_.begin(), follows_.end(),
                     [&](const Follow& follow) { return missing.erase(follow.store->name()) > 0; });
  std::move(first_gone, follows_.end(), std::back_inserter(gone));
  follows_.erase(first_gone, follows_.end());
  for (Follow& follow : follows_) {
    if (follow.store->state() == FollowedStore::State::kFollowing) follow.last_followed = now;
  }
  for (const StoreName& name : missing) {
    SKV_LOG(INFO) << "following store " << name.store_id << " at " << name.watch_address;
    follows_.push_back({std::make_unique<FollowedStore>(name, prefixes_, counts_), now});
  }
}

StoreFollowerStats StoreFollower::stats() const {
  StoreFollowerStats stats{.num_added = counts_->num_added,
                           .num_removed = counts_->num_removed,
                           .num_snapshots = counts_->num_snapshots};
  const TimePoint now = RealClock().Now();
  MutexLock lock(&mutex_);
  stats.num_refused = num_refused_;
  for (const Follow& follow : follows_) {
    const FollowedStore::State state = follow.store->state();
    stats.num_following += state == FollowedStore::State::kFollowing;
    stats.num_connecting += state == FollowedStore::State::kConnecting;
    stats.num_other += state == FollowedStore::State::kOther;
    if (state == FollowedStore::State::kFollowing) continue;
    stats.max_outage = std::max(stats.max_outage, now - follow.last_followed);
  }
  return stats;
}

}  // namespace skv::router
