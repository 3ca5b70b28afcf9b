#pragma once

#include <memory>
#include <vector>

#include "router/balancer/picker.h"

namespace skv::router {

// The group with the fewest tokens still to be processed; among equals, in turn by `sequence`.
//
// Looking at all groups instead of two random ones is affordable: a cluster has at most a few
// hundred.
std::shared_ptr<const Picker> MakeLeastOutstandingTokensPicker(std::vector<Candidate> candidates);

}  // namespace skv::router
