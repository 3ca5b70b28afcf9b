#include "router/membership/group.h"

#include <utility>

namespace skv::router {

Group::Group(GroupId id, std::string address, std::shared_ptr<GroupClient> client, TimePoint now)
    : id_(id),
      address_(std::move(address)),
      client_(std::move(client)),
      outstanding_(std::make_shared<OutstandingTokens>(0)),
      heard_(now) {}

uint64_t Group::Watch(std::function<void(const absl::Status&)> on_lost) {
  MutexLock lock(&mutex_);
  watchers_.emplace(next_watch_id_, std::move(on_lost));
  return next_watch_id_++;
}

void Group::Unwatch(uint64_t watch_id) {
  MutexLock lock(&mutex_);
  watchers_.erase(watch_id);
}

void Group::LoseStreams(const absl::Status& status) {
  decltype(watchers_) lost;
  {
    MutexLock lock(&mutex_);
    lost.swap(watchers_);
  }
  for (const auto& [id, on_lost] : lost) on_lost(status);
}

bool Group::InUse() {
  MutexLock lock(&mutex_);
  return !watchers_.empty() || outstanding_->load() > 0;
}

}  // namespace skv::router
