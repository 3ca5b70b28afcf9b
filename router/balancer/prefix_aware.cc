#include "router/balancer/prefix_aware.h"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "router/balancer/recent_work.h"

namespace skv::router {
namespace {

// Of the mean: what a group may have outstanding and still be sought for its cache.
constexpr double kMaxImbalance = 1.3;
// A token that is computed delays its own request and those that come after it. With 1 instead of 2
// a burst of questions on a new document spreads at once, since waiting for the first of them takes
// as long as computing all anew: the simulation has 90 % of the possible hits then, not 96 %, and
// its first tokens come a seventh later.
constexpr int64_t kComputeWeight = 2;
// What was done of late counts a quarter. Of 60 simulated traces of 70 conversations, played to
// groups that are idle half of the time, none has an imbalance above 1.3 then; without it 17 have.
// Hits are 0.3 % fewer, with twice as much 1.5 %.
constexpr int64_t kRecentShare = 4;

class PrefixAwarePicker : public Picker {
 public:
  PrefixAwarePicker(std::vector<Candidate> candidates, std::shared_ptr<const PrefixIndex> prefixes,
                    std::shared_ptr<RecentWork> work)
      : candidates_(std::move(candidates)), prefixes_(std::move(prefixes)), work_(std::move(work)) {
    for (const Candidate& candidate : candidates_) {
      groups_.push_back(candidate.group_id);
      caches_.push_back(candidate.cache_id);
    }
  }

  std::optional<PickResult> Pick(const PickInput& input) const override {
    const size_t count = candidates_.size();
    const std::vector<int64_t> cached = CachedTokens(input);
    std::vector<int64_t> outstanding;
    double total = 0;
    for (const Candidate& candidate : candidates_) {
      outstanding.push_back(EstimateOutstandingTokens(candidate));
      total += static_cast<double>(outstanding.back());
    }
    const double limit = kMaxImbalance * total / static_cast<double>(count) +
                         static_cast<double>(input.num_prompt_tokens);
    const std::vector<int64_t> work = work_->Read(groups_);
    std::optional<size_t> best;
    std::pair<int64_t, int64_t> best_cost;
    for (size_t i = 0; i < count; ++i) {
      const size_t at = (input.sequence % count + i) % count;
      if (std::ranges::find(input.excluded, groups_[at]) != input.excluded.end()) continue;
      const bool overloaded = static_cast<double>(outstanding[at]) > limit;
      const int64_t to_compute = input.num_prompt_tokens - (overloaded ? 0 : cached[at]);
      const std::pair cost(kComputeWeight * to_compute + outstanding[at] + work[at] / kRecentShare,
                           outstanding[at]);
      if (best.has_value() && cost >= best_cost) continue;
      best = at;
      best_cost = cost;
    }
    if (!best.has_value()) return std::nullopt;
    work_->Add(groups_[*best], input.num_prompt_tokens - cached[*best], count);
    return PickResult{groups_[*best], cached[*best]};
  }

 private:
  std::vector<int64_t> CachedTokens(const PickInput& input) const {
    if (prefixes_ == nullptr || input.prompt == nullptr) {
      return std::vector<int64_t>(candidates_.size(), 0);
    }
    return prefixes_->CachedTokens(*input.prompt, caches_);
  }

  const std::vector<Candidate> candidates_;
  const std::shared_ptr<const PrefixIndex> prefixes_;
  const std::shared_ptr<RecentWork> work_;
  // Of the candidates.
  std::vector<GroupId> groups_;
  std::vector<CacheId> caches_;
};

}  // namespace

PickerFactory MakePrefixAwarePickerFactory(std::shared_ptr<const PrefixIndex> prefixes) {
  return [prefixes = std::move(prefixes),
          work = std::make_shared<RecentWork>()](std::vector<Candidate> candidates) {
    return std::make_shared<PrefixAwarePicker>(std::move(candidates), prefixes, work);
  };
}

}  // namespace skv::router
