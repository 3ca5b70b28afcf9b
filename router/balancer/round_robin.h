#pragma once

#include <memory>
#include <vector>

#include "router/balancer/picker.h"

namespace skv::router {

// The candidates in turn: candidate `sequence` modulo their number, or the next that is not
// excluded.
std::shared_ptr<const Picker> MakeRoundRobinPicker(std::vector<Candidate> candidates);

}  // namespace skv::router
