#pragma once
// The metrics of prefix caching, under our names and under vLLM's. Names: docs/metrics.md.

#include <functional>

#include "common/metrics.h"
#include "worker/engine/prefix_stats.h"

namespace skv::server {

// Runs at each scrape, on its thread.
using PrefixStatsReader = std::function<engine::PrefixStats()>;

void AddPrefixMetrics(const PrefixStatsReader& read, Metrics* metrics);
void AddVllmPrefixMetrics(const PrefixStatsReader& read, const MetricLabels& labels,
                          Metrics* metrics);

}  // namespace skv::server
