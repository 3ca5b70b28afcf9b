#pragma once
// Metrics of the tiers, and of what moves and checks blocks.

#include "common/metrics.h"
#include "kvstore/server/server_status.h"
#include "kvstore/tiering/sought_table.h"
#include "kvstore/tiering/tiering.h"

namespace skv::kvstore {

// `tiering` and `status` outlive whoever reads `metrics`.
void AddTierMetrics(const Tiering* tiering, const SoughtLimits& limits, const ServerStatus* status,
                    Metrics* metrics);

}  // namespace skv::kvstore
