#pragma once
// Worker groups that compute prompts one after another, each with a cache that forgets what was
// used longest ago, and a picker in front that counts and learns as a relay does. Time is a number.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <queue>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/block_key.h"
#include "router/balancer/picker.h"
#include "router/balancer/prefix_index.h"

namespace skv::router {

// Sentences by least recent use, a sentence before the ones that it follows.
class LruCache {
 public:
  explicit LruCache(int64_t capacity_tokens) : capacity_tokens_(capacity_tokens) {}

  // How many tokens of the prompt there are, from the first on; then all of it is there. Calls
  // `on_evicted` for what had to go.
  int64_t Use(const PrefixChain& prompt, const std::function<void(const PrefixKey&)>& on_evicted) {
    size_t num_found = 0;
    while (num_found < prompt.keys.size() && where_.contains(prompt.keys[num_found])) ++num_found;
    for (size_t i = prompt.keys.size(); i-- > 0;) {
      const int64_t tokens = prompt.ends[i] - (i == 0 ? 0 : prompt.ends[i - 1]);
      if (const auto it = where_.find(prompt.keys[i]); it != where_.end()) {
        order_.splice(order_.begin(), order_, it->second);
        continue;
      }
      order_.push_front({prompt.keys[i], tokens});
      where_[prompt.keys[i]] = order_.begin();
      used_tokens_ += tokens;
    }
    for (; used_tokens_ > capacity_tokens_; order_.pop_back()) {
      used_tokens_ -= order_.back().second;
      where_.erase(order_.back().first);
      on_evicted(order_.back().first);
    }
    return num_found == 0 ? 0 : prompt.ends[num_found - 1];
  }

 private:
  using Order = std::list<std::pair<PrefixKey, int64_t>>;  // and its tokens
  const int64_t capacity_tokens_;
  int64_t used_tokens_ = 0;
  Order order_;  // last used first
  absl::flat_hash_map<PrefixKey, Order::iterator> where_;
};

class SimulatedCluster {
 public:
  struct Options {
    int num_groups = 4;
    int64_t cache_tokens = 0;  // of each group
    double tokens_per_second = 4000;
    double output_tokens_per_second = 50;  // of each request, however many there are
    // The index hears what caches forget, as from a store that is watched.
    bool reports_evictions = false;
  };
  struct Totals {
    int num_requests = 0;
    int64_t prompt_tokens = 0;
    int64_t cached_tokens = 0;
    int64_t expected_tokens = 0;
    double ttft_seconds = 0;
    std::vector<int64_t> computed_tokens;  // of prompts, by group

    double hit_ratio() const { return double(cached_tokens) / double(prompt_tokens); }
    double imbalance() const {
      double sum = 0;
      for (const int64_t tokens : computed_tokens) sum += double(tokens);
      return double(*std::ranges::max_element(computed_tokens)) / sum *
             double(computed_tokens.size());
    }
  };

  // `policy` is a name that FindPolicy knows.
  SimulatedCluster(const Options& options, std::string_view policy) : options_(options) {
    std::vector<Candidate> candidates;
    std::vector<CacheId> caches;
    for (int i = 0; i < options.num_groups; ++i) {
      groups_.push_back({.cache = LruCache(options.cache_tokens)});
      candidates.push_back({.group_id = i, .outstanding = groups_[i].outstanding, .cache_id = i});
      caches.push_back(i);
    }
    index_->SetCaches(caches);
    picker_ = FindPolicy(policy, index_).value()(std::move(candidates));
    totals_.computed_tokens.resize(options.num_groups);
  }

  // The time when the last token has come. Times of calls ascend.
  double Run(double now, const PrefixChain& prompt, int64_t num_prompt_tokens,
             int64_t output_tokens) {
    for (; !ends_.empty() && ends_.top().time <= now; ends_.pop()) {
      groups_[ends_.top().group].outstanding->fetch_sub(ends_.top().tokens);
    }
    const PickResult picked = *picker_->Pick({.excluded = {},
                                              .sequence = sequence_++,
                                              .num_prompt_tokens = num_prompt_tokens,
                                              .prompt = &prompt});
    Group& group = groups_[picked.group_id];
    index_->AddPrompt(picked.group_id, prompt);
    const int64_t cached = group.cache.Use(prompt, [&](const PrefixKey& key) {
      if (options_.reports_evictions) index_->Remove(picked.group_id, {&key, 1});
    });
    const int64_t computed = num_prompt_tokens - cached;
    group.busy_until =
        std::max(now, group.busy_until) + double(computed) / options_.tokens_per_second;
    const double end = group.busy_until + double(output_tokens) / options_.output_tokens_per_second;
    const int64_t charged = num_prompt_tokens - picked.cached_tokens;
    group.outstanding->fetch_add(charged + output_tokens);
    ends_.push({group.busy_until, picked.group_id, charged});
    ends_.push({end, picked.group_id, output_tokens});
    ++totals_.num_requests;
    totals_.prompt_tokens += num_prompt_tokens;
    totals_.cached_tokens += cached;
    totals_.expected_tokens += picked.cached_tokens;
    totals_.ttft_seconds += group.busy_until - now;
    totals_.computed_tokens[picked.group_id] += computed;
    return end;
  }

  const Totals& totals() const { return totals_; }

 private:
  struct Group {
    LruCache cache;
    std::shared_ptr<OutstandingTokens> outstanding = std::make_shared<OutstandingTokens>(0);
    double busy_until = 0;
  };
  struct End {  // of a part of a group's outstanding tokens
    double time;
    int group;
    int64_t tokens;
    bool operator>(const End& other) const { return time > other.time; }
  };

  const Options options_;
  const std::shared_ptr<PrefixIndex> index_ = std::make_shared<PrefixIndex>(100'000);
  std::shared_ptr<const Picker> picker_;
  std::vector<Group> groups_;
  std::priority_queue<End, std::vector<End>, std::greater<>> ends_;
  uint64_t sequence_ = 0;
  Totals totals_;
};

}  // namespace skv::router
