#include "router/stores/store_metrics.h"

namespace skv::router {

void AddStoreMetrics(const StoreFollowerOptions& options, const StoreFollower* follower,
                     Metrics* metrics) {
  const auto stats = [follower] {
    return follower == nullptr ? StoreFollowerStats() : follower->stats();
  };
  const char* const streams = "Stores that are followed, by state.";
  metrics->AddGauge("skv_router_watch_streams", streams, {{"state", "following"}},
                    [stats] { return stats().num_following; });
  metrics->AddGauge("skv_router_watch_streams", streams, {{"state", "connecting"}},
                    [stats] { return stats().num_connecting; });
  metrics->AddGauge("skv_router_watch_streams", streams, {{"state", "other"}},
                    [stats] { return stats().num_other; });
  metrics->AddGauge("skv_router_max_watch_streams", "Stores that may be followed.", {},
                    [max = options.max_stores] { return static_cast<double>(max); });
  metrics->AddGauge("skv_router_refused_watch_streams", "Stores beyond that.", {},
                    [stats] { return stats().num_refused; });
  metrics->AddGauge("skv_router_watch_outage_seconds",
                    "The longest that a store that is to be followed has not been.", {},
                    [stats] { return ToSeconds(stats().max_outage); });
  const char* const events = "Keys that stores have told of.";
  metrics->AddCounterFrom("skv_router_watch_events_total", events, {{"kind", "added"}},
                          [stats] { return static_cast<double>(stats().num_added); });
  metrics->AddCounterFrom("skv_router_watch_events_total", events, {{"kind", "removed"}},
                          [stats] { return static_cast<double>(stats().num_removed); });
  metrics->AddCounterFrom("skv_router_watch_snapshots_total", "Snapshots that stores have begun.",
                          {}, [stats] { return static_cast<double>(stats().num_snapshots); });
}

}  // namespace skv::router
