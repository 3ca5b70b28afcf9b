#pragma once

#include <memory>
#include <vector>

#include "router/balancer/picker.h"

namespace skv::router {

// The group with the fewest tokens still to be processed; among equals, in turn by `sequence`.
//
// A report is up to one probe interval old. What this router has sent and received since is known
// exactly, so the estimate is report + change of our own count, and never below our own count.
// Looking at all groups instead of two random ones is affordable: a cluster has at most a few
// hundred.
std::shared_ptr<const Picker> MakeLeastOutstandingTokensPicker(std::vector<Candidate> candidates);

}  // namespace skv::router
