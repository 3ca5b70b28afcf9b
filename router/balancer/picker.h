#pragma once
// Chooses the worker group of one request. A Picker is an immutable snapshot of one model's healthy
// groups: membership builds a new one at every look at the groups and swaps it whole, so that a
// choice sees one consistent list. Live are the counts of outstanding tokens and, for prefix_aware,
// the index of cached prefixes and what groups were given to compute.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/block_key.h"
#include "router/balancer/cache_id.h"
#include "router/balancer/prefix_index.h"

namespace skv::router {

using GroupId = int32_t;  // index that membership gave to a group; never reused

// Tokens that this router still waits for from one group. Lives as long as somebody counts in it.
using OutstandingTokens = std::atomic<int64_t>;

struct Candidate {
  GroupId group_id = 0;
  // From the group's last load report: prompt and generation tokens not yet processed, of all
  // routers.
  int64_t reported_tokens = 0;
  // Value of `outstanding` when that report came.
  int64_t outstanding_at_report = 0;
  // Live; never null.
  std::shared_ptr<const OutstandingTokens> outstanding;
  // Where its prompts stay; others of the model may have the same.
  CacheId cache_id = kNoCache;
};

// Tokens still to be processed by the group. A report is up to one probe interval old. What this
// router has sent and received since is known exactly, so the estimate is report + change of our
// own count, and never below our own count.
int64_t EstimateOutstandingTokens(const Candidate& candidate);

struct PickInput {
  // Groups that have been tried for this request; never picked again.
  const std::vector<GroupId>& excluded;
  // Counts requests; breaks ties and drives rotation.
  uint64_t sequence = 0;
  int64_t num_prompt_tokens = 0;
  // The prompt's sentences; null or empty: nothing of it is expected in any cache.
  const PrefixChain* prompt = nullptr;
};

struct PickResult {
  GroupId group_id = 0;
  // Prompt tokens that the group is expected not to compute, below num_prompt_tokens; always 0 with
  // a policy that does not ask.
  int64_t cached_tokens = 0;
};

// Thread-safe: const.
class Picker {
 public:
  virtual ~Picker() = default;
  // nullopt: every candidate is excluded, or there is none.
  virtual std::optional<PickResult> Pick(const PickInput& input) const = 0;
};

using PickerFactory =
    std::function<std::shared_ptr<const Picker>(std::vector<Candidate> candidates)>;

// `policy`: "prefix_aware", "least_outstanding_tokens" or "round_robin". `prefixes`: what
// prefix_aware goes by; null: it knows of no cached prefix. InvalidArgument for any other policy,
// naming these.
absl::StatusOr<PickerFactory> FindPolicy(std::string_view policy,
                                         std::shared_ptr<const PrefixIndex> prefixes = nullptr);

}  // namespace skv::router
