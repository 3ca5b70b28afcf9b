#pragma once
// Which worker group a part of a request goes to next. Pure functions of a snapshot.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "router/attempt.h"
#include "router/balancer/picker.h"
#include "router/balancer/prefix_index.h"
#include "router/membership/cluster.h"

namespace skv::router {

// What all parts of a request look for.
struct GroupNeeds {
  std::string_view fingerprint;  // of the model that its prompt was tokenised for
  // Of the group of the first token, of which only equal ones go on with it; nullopt: none came.
  const std::optional<std::string>& numerics_id;
  const absl::Status& last_failure;  // of a group; OK: it was sent to none yet
  // For the picker.
  uint64_t sequence = 0;
  int64_t num_prompt_tokens = 0;
  const PrefixChain* prompt = nullptr;
};

// One that was not tried yet, else one that has recovered since; `picker` is that of the model.
// nullopt: none is left. What got no token yet comes back to a group at most once: it may be what
// ends workers, and streams that run beside it can move only so often.
std::optional<PickResult> ChooseGroup(const Cluster& cluster, const Picker& picker,
                                      const Part& part, const GroupNeeds& needs);

// Whether a group that is out may do later, where ChooseGroup found none: one that is on the worker
// list, is not kept out, and has told no other model or arithmetic. REQUIRES: the part was tried.
bool MayRecover(const Cluster& cluster, const Part& part, const GroupNeeds& needs);

}  // namespace skv::router
