#include "router/balancer/picker.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "router/balancer/least_outstanding_tokens.h"
#include "router/balancer/round_robin.h"

namespace skv::router {

absl::StatusOr<PickerFactory> FindPolicy(std::string_view policy) {
  if (policy == "least_outstanding_tokens") return PickerFactory(MakeLeastOutstandingTokensPicker);
  if (policy == "round_robin") return PickerFactory(MakeRoundRobinPicker);
  return absl::InvalidArgumentError(absl::StrCat(
      "policy: got \"", Sv(policy), "\", expected least_outstanding_tokens or round_robin"));
}

}  // namespace skv::router
