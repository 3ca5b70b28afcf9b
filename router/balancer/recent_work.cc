#include "router/balancer/recent_work.h"

namespace skv::router {
namespace {

constexpr double kRequestsPerGroup = 12;
constexpr double kMaxUnit = 1e6;

}  // namespace

void RecentWork::Add(GroupId group, int64_t tokens, size_t num_groups) {
  MutexLock lock(&mutex_);
  unit_ *= 1 + 1 / (kRequestsPerGroup * static_cast<double>(num_groups));
  shares_[group] += static_cast<double>(tokens) * unit_;
  if (unit_ < kMaxUnit) return;
  for (auto& [id, share] : shares_) share /= unit_;
  unit_ = 1;
  absl::erase_if(shares_, [](const auto& entry) { return entry.second < 1; });
}

std::vector<int64_t> RecentWork::Read(std::span<const GroupId> groups) const {
  std::vector<int64_t> result;
  result.reserve(groups.size());
  MutexLock lock(&mutex_);
  for (const GroupId group : groups) {
    const auto it = shares_.find(group);
    result.push_back(it == shares_.end() ? 0 : static_cast<int64_t>(it->second / unit_));
  }
  return result;
}

}  // namespace skv::router
