#include "router/router_metrics.h"

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
      retries_(
          metrics->AddCounter("skv_router_retries_total", "Attempts on a further worker group.")),
      prompt_tokens_(metrics->AddCounter("skv_router_prompt_tokens_total",
                                         "Prompt tokens of requests that got a token.")),
      generation_tokens_(
          metrics->AddCounter("skv_router_generation_tokens_total", "Tokens relayed to clients.")) {
  for (const absl::StatusCode code : kCodes) {
    requests_by_code_[code] =
        &metrics->AddCounter("skv_router_requests_total", "Requests that ended, by status code.",
                             {{"code", absl::AsciiStrToLower(absl::StatusCodeToString(code))}});
  }
}

void RouterMetrics::OnEnd(const RelayStats& stats) {
  const auto it = requests_by_code_.find(stats.code);
  (it != requests_by_code_.end() ? it->second : requests_by_code_.at(absl::StatusCode::kUnknown))
      ->Increment();
  duration_.Observe(stats.total_seconds);
  retries_.Increment(stats.num_retries);
  if (stats.ttft_seconds < 0) return;
  ttft_.Observe(stats.ttft_seconds);
  prompt_tokens_.Increment(static_cast<double>(stats.usage.prompt_tokens));
  generation_tokens_.Increment(static_cast<double>(stats.usage.completion_tokens));
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
}

}  // namespace skv::router
