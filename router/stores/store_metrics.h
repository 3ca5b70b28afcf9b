#pragma once
// What a router exports of the stores that it follows: docs/metrics.md lists the names.

#include "common/metrics.h"
#include "router/stores/store_follower.h"

namespace skv::router {

// Read at each scrape. `follower` outlives the last one; null: nothing is followed, all are 0.
void AddStoreMetrics(const StoreFollowerOptions& options, const StoreFollower* follower,
                     Metrics* metrics);

}  // namespace skv::router
