#include "kvstore/grpc/watch_metrics.h"

namespace skv::kvstore {

void AddWatchMetrics(const KvStoreServiceOptions& options, const KvStoreService* service,
                     const EventFeed* feed, const CommandQueue* commands, Metrics* metrics) {
  const auto gauge = [metrics](const char* name, const char* help, auto read) {
    metrics->AddGauge(name, help, {}, [read] { return static_cast<double>(read()); });
  };
  const auto counter = [metrics](const char* name, const char* help, auto read) {
    metrics->AddCounterFrom(name, help, {}, [read] { return static_cast<double>(read()); });
  };
  gauge("skv_kvstore_watch_streams", "Watch calls.",
        [service] { return service->watch_gauges().num_streams; });
  gauge("skv_kvstore_max_watch_streams", "Most Watch calls.",
        [max = options.max_watch_streams] { return max; });
  gauge("skv_kvstore_watch_events", "Events kept for Watch calls.",
        [feed] { return feed->num_kept(); });
  gauge("skv_kvstore_max_watch_events", "Most of those.", [feed] { return feed->capacity(); });
  gauge("skv_kvstore_watch_lag_events", "Events that the slowest Watch call has not sent.",
        [service] { return service->watch_gauges().max_lag; });
  counter("skv_kvstore_watch_snapshots_total", "Watch calls that began with a snapshot.",
          [service] { return service->watch_gauges().num_snapshots; });
  counter("skv_kvstore_watch_overruns_total", "Watch calls whose callers read too slowly.",
          [service] { return service->watch_gauges().num_too_slow; });
  counter("skv_kvstore_refused_watches_total", "Watch calls beyond the most.",
          [service] { return service->watch_gauges().num_refused; });
  gauge("skv_kvstore_commands", "Commands that wait for the sessions' thread.",
        [commands] { return commands->size(); });
  gauge("skv_kvstore_max_commands", "Most of those.", [commands] { return commands->capacity(); });
}

}  // namespace skv::kvstore
