#pragma once
// The router's metrics. Labels come from closed sets: status codes, addresses of worker groups.

#include <map>

#include "absl/status/status.h"
#include "common/metrics.h"
#include "router/membership/membership.h"
#include "router/relay.h"
#include "router/router.h"

namespace skv::router {

//   skv_router_requests_total{code}             ended requests, refused ones included
//   skv_router_ttft_seconds                     arrival to first token
//   skv_router_request_duration_seconds         arrival to end
//   skv_router_retries_total                    attempts on a further group before the first token
//   skv_router_migrations_total{reason}         samples that went on with another group after it
//   skv_router_waits_total{outcome}             waits for a group where none was left
//   skv_router_waiting_streams, skv_router_max_waiting_streams
//   skv_router_prompt_tokens_total, skv_router_generation_tokens_total
//   skv_router_prefix_expected_tokens_total, skv_router_prefix_cached_tokens_total
//                                               of those prompt tokens, what was expected to be
//                                               cached and what the worker groups say was
//   skv_router_prefix_index_keys, skv_router_prefix_index_max_keys
//   skv_router_prefix_index_evicted_keys_total  keys that made room for others
//   skv_router_requests_in_flight
//   skv_router_groups{state="healthy"|"out"}
//   skv_router_outstanding_tokens{address}      of each group there is
class RouterMetrics {
 public:
  explicit RouterMetrics(Metrics* metrics);

  // Thread-safe.
  void OnEnd(const RelayStats& stats);

  // Gauges read these at each scrape: both outlive the last scrape.
  void Watch(const Router* router, const Membership* membership);

 private:
  void WatchPrefixes(const Membership* membership);

  Metrics* const metrics_;
  std::map<absl::StatusCode, prometheus::Counter*> requests_by_code_;
  prometheus::Histogram& ttft_;
  prometheus::Histogram& duration_;
  prometheus::Counter& retries_;
  std::map<MigrationReason, prometheus::Counter*> migrations_;
  std::map<WaitOutcome, prometheus::Counter*> waits_;
  prometheus::Counter& prompt_tokens_;
  prometheus::Counter& generation_tokens_;
  prometheus::Counter& prefix_expected_tokens_;
  prometheus::Counter& prefix_cached_tokens_;
};

}  // namespace skv::router
