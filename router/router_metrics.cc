#include "router/router_metrics.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace skv::router {
namespace {

constexpr absl::StatusCode kCodes[] = {
    absl::StatusCode::kOk,
    absl::StatusCode::kCancelled,
    absl::StatusCode::kUnknown,
    absl::StatusCode::kInvalidArgument,
    absl::StatusCode::kDeadlineExceeded,
    absl::StatusCode::kNotFound,
    absl::StatusCode::kResourceExhausted,
    absl::StatusCode::kFailedPrecondition,
    absl::StatusCode::kAborted,
    absl::StatusCode::kUnimplemented,
    absl::StatusCode::kInternal,
    absl::StatusCode::kUnavailable,
};

std::vector<Metrics::Sample> ReadOutstandingTokens(const Cluster& cluster) {
  std::vector<Metrics::Sample> samples;
  for (const auto& [id, entry] : cluster.groups) {
    samples.push_back({{{"address", entry.group->address()}},
                       static_cast<double>(entry.group->outstanding()->load())});
  }
  return samples;
}

}  // namespace

RouterMetrics::RouterMetrics(Metrics* metrics)
    : metrics_(metrics),
      ttft_(metrics->AddHistogram("skv_router_ttft_seconds",
                                  "Arrival, before tokenisation, to the first token.",
                                  LatencyBuckets())),
      duration_(metrics->AddHistogram("skv_router_request_duration_seconds",
                                      "Arrival to the end of the stream.", LatencyBuckets())),
      retries_(metrics->AddCounter("skv_router_retries_total",
                                   "Attempts on a further worker group before the first token.")),
      prompt_tokens_(metrics->AddCounter("skv_router_prompt_tokens_total",
                                         "Prompt tokens of requests that got a token.")),
      generation_tokens_(
          metrics->AddCounter("skv_router_generation_tokens_total", "Tokens relayed to clients.")),
      prefix_expected_tokens_(
          metrics->AddCounter("skv_router_prefix_expected_tokens_total",
                              "Prompt tokens that were expected to be cached where they went.")),
      prefix_cached_tokens_(metrics->AddCounter("skv_router_prefix_cached_tokens_total",
                                                "Prompt tokens that were cached there.")) {
  for (const absl::StatusCode code : kCodes) {
    requests_by_code_[code] =
        &metrics->AddCounter("skv_router_requests_total", "Requests that ended, by status code.",
                             {{"code", absl::AsciiStrToLower(absl::StatusCodeToString(code))}});
  }
  for (const MigrationReason reason : kMigrationReasons) {
    migrations_[reason] = &metrics->AddCounter(
        "skv_router_migrations_total",
        "Samples that went on with another worker group after the first token, by what became of "
        "the one before.",
        {{"reason", std::string(ToString(reason))}});
  }
  for (const WaitOutcome outcome : kWaitOutcomes) {
    waits_[outcome] = &metrics->AddCounter(
        "skv_router_waits_total",
        "Waits of streams for a worker group when theirs was lost and no other was left.",
        {{"outcome", std::string(ToString(outcome))}});
  }
}

void RouterMetrics::OnEnd(const RelayStats& stats) {
  const auto it = requests_by_code_.find(stats.code);
  (it != requests_by_code_.end() ? it->second : requests_by_code_.at(absl::StatusCode::kUnknown))
      ->Increment();
  duration_.Observe(stats.total_seconds);
  retries_.Increment(stats.num_retries);
  for (const auto& [reason, counter] : migrations_) {
    counter->Increment(stats.migrations.of(reason));
  }
  for (const auto& [outcome, counter] : waits_) counter->Increment(stats.waits.of(outcome));
  if (stats.ttft_seconds < 0) return;
  ttft_.Observe(stats.ttft_seconds);
  prompt_tokens_.Increment(static_cast<double>(stats.usage.prompt_tokens));
  generation_tokens_.Increment(static_cast<double>(stats.usage.completion_tokens));
  prefix_expected_tokens_.Increment(static_cast<double>(stats.expected_cached_tokens));
  // A worker's word, which may be anything; a counter never falls.
  const int64_t cached =
      std::clamp<int64_t>(stats.usage.cached_tokens, 0, stats.usage.prompt_tokens);
  prefix_cached_tokens_.Increment(static_cast<double>(cached));
}

void RouterMetrics::Watch(const Router* router, const Membership* membership) {
  metrics_->AddGauge("skv_router_requests_in_flight",
                     "Requests between arrival and the delivery of the last event.", {},
                     [router] { return router->num_in_flight(); });
  metrics_->AddGauge("skv_router_groups", "Worker groups by state.", {{"state", "healthy"}},
                     [membership] { return membership->snapshot()->num_healthy_groups(); });
  metrics_->AddGauge(
      "skv_router_groups", "Worker groups by state.", {{"state", "out"}}, [membership] {
        const auto cluster = membership->snapshot();
        return static_cast<double>(cluster->groups.size()) - cluster->num_healthy_groups();
      });
  metrics_->AddGauge("skv_router_outstanding_tokens",
                     "Tokens that this router still waits for from a worker group.",
                     [membership] { return ReadOutstandingTokens(*membership->snapshot()); });
  metrics_->AddGauge("skv_router_waiting_streams", "Streams that wait for a worker group.", {},
                     [membership] { return static_cast<double>(membership->num_waiting()); });
  metrics_->AddGauge("skv_router_max_waiting_streams", "Streams that may.", {},
                     [membership] { return static_cast<double>(membership->max_waiting()); });
  WatchPrefixes(membership);
}

void RouterMetrics::WatchPrefixes(const Membership* membership) {
  const auto stats = [membership] {
    const std::shared_ptr<PrefixIndex>& prefixes = membership->prefixes();
    return prefixes == nullptr ? PrefixIndex::Stats() : prefixes->stats();
  };
  metrics_->AddGauge("skv_router_prefix_index_keys", "Prefixes that the index knows of.", {},
                     [stats] { return static_cast<double>(stats().num_keys); });
  metrics_->AddGauge("skv_router_prefix_index_max_keys", "Prefixes that it has room for.", {},
                     [stats] { return static_cast<double>(stats().max_keys); });
  metrics_->AddCounterFrom("skv_router_prefix_index_evicted_keys_total",
                           "Prefixes that made room for others.", {},
                           [stats] { return static_cast<double>(stats().num_evicted_keys); });
}

}  // namespace skv::router
