#pragma once

#include <memory>

#include "router/balancer/picker.h"
#include "router/balancer/prefix_index.h"

namespace skv::router {

// The group with the smallest
//
//   2 * prompt tokens that its cache does not have + tokens that it has still to process
//     + a quarter of the prompt tokens that it was given to compute of late (recent_work.h);
//
// among equals the one that has fewer to process, then in turn by `sequence`. In the first term a
// token counts for the time that this request waits for it, and for the time that it takes from
// others. The last one makes conversations begin elsewhere than where the most popular ones are
// read, also while nobody has to wait. What a picker answers counts as given: all pickers of one
// factory know of it.
//
// A group that has more outstanding than 1.3 times the mean of all groups plus this prompt is
// judged as if its cache were empty, so that a popular prefix spreads to further groups before the
// first one falls behind.
//
// `prefixes` null: no cache is known to have anything.
PickerFactory MakePrefixAwarePickerFactory(std::shared_ptr<const PrefixIndex> prefixes);

}  // namespace skv::router
