#include "router/balancer/picker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "router/balancer/least_outstanding_tokens.h"
#include "router/balancer/prefix_aware.h"
#include "router/balancer/round_robin.h"

namespace skv::router {

int64_t EstimateOutstandingTokens(const Candidate& candidate) {
  const int64_t own = candidate.outstanding->load(std::memory_order_relaxed);
  return std::max(own, candidate.reported_tokens + own - candidate.outstanding_at_report);
}

absl::StatusOr<PickerFactory> FindPolicy(std::string_view policy,
                                         std::shared_ptr<const PrefixIndex> prefixes) {
  if (policy == "prefix_aware") return MakePrefixAwarePickerFactory(std::move(prefixes));
  if (policy == "least_outstanding_tokens") return PickerFactory(MakeLeastOutstandingTokensPicker);
  if (policy == "round_robin") return PickerFactory(MakeRoundRobinPicker);
  return absl::InvalidArgumentError(
      absl::StrCat("policy: got \"", Sv(policy),
                   "\", expected prefix_aware, least_outstanding_tokens or round_robin"));
}

}  // namespace skv::router
