#pragma once
// Chooses the worker group of one request. A Picker is an immutable snapshot of one model's healthy
// groups: membership builds a new one at every look at the groups and swaps it whole, so that a
// choice needs no lock and sees one consistent state.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

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
};

struct PickInput {
  // Groups that have been tried for this request; never picked again.
  const std::vector<GroupId>& excluded;
  // Counts requests; breaks ties and drives rotation. Passed in: a picker has no state.
  uint64_t sequence = 0;
};

// Thread-safe: const.
class Picker {
 public:
  virtual ~Picker() = default;
  // nullopt: every candidate is excluded, or there is none.
  virtual std::optional<GroupId> Pick(const PickInput& input) const = 0;
};

using PickerFactory =
    std::function<std::shared_ptr<const Picker>(std::vector<Candidate> candidates)>;

// `policy`: "least_outstanding_tokens" or "round_robin". InvalidArgument for any other, naming
// these.
absl::StatusOr<PickerFactory> FindPolicy(std::string_view policy);

}  // namespace skv::router
