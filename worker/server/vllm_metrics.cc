#include "worker/server/vllm_metrics.h"

#include <algorithm>

#include "worker/server/prefix_metrics.h"

namespace skv::server {
namespace {

using engine::FinishReason;

const std::vector<double> kFirstTokenBuckets = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                                0.25,  0.5,   0.75, 1.0,  2.5,  5.0,  7.5,  10.0,
                                                20.0,  40.0,  80.0, 160,  640,  2560};
const std::vector<double> kTokenBuckets = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,
                                           0.3,  0.4,   0.5,  0.75,  1.0, 2.5,  5.0,
                                           7.5,  10.0,  20.0, 40.0,  80.0};
const std::vector<double> kRequestBuckets = {0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5,   10,   15,  20,
                                             30,  40,  50,  60,  120, 240, 480, 960, 1920, 7680};

// 1, 2, 5, 10, 20, 50, ... up to `limit`.
std::vector<double> CountBuckets(int limit) {
  std::vector<double> buckets;
  for (double decade = 1; decade <= limit; decade *= 10) {
    for (const int step : {1, 2, 5}) {
      if (decade * step <= limit) buckets.push_back(decade * step);
    }
  }
  return buckets;
}

}  // namespace

VllmMetrics::VllmMetrics(const std::string& model_name, int max_model_len, const engine::Rank* rank,
                         const engine::Engine* engine, Metrics* metrics)
    : labels_({{"model_name", model_name}, {"engine", "0"}}) {
  AddState(rank, engine, metrics);
  const auto histogram = [&](const char* name, const char* help,
                             const std::vector<double>& buckets) {
    return &metrics->AddHistogram(name, help, buckets, labels_);
  };
  const std::vector<double> counts = CountBuckets(max_model_len);
  time_to_first_token_ = histogram("vllm:time_to_first_token_seconds",
                                   "Arrival to the first token.", kFirstTokenBuckets);
  time_per_output_token_ = histogram("vllm:request_time_per_output_token_seconds",
                                     "Mean time between a request's tokens.", kTokenBuckets);
  e2e_latency_ =
      histogram("vllm:e2e_request_latency_seconds", "Arrival to the last token.", kRequestBuckets);
  queue_time_ =
      histogram("vllm:request_queue_time_seconds", "Arrival to the first step.", kRequestBuckets);
  inference_time_ = histogram("vllm:request_inference_time_seconds",
                              "First step to the last token.", kRequestBuckets);
  prefill_time_ = histogram("vllm:request_prefill_time_seconds", "First step to the first token.",
                            kRequestBuckets);
  decode_time_ =
      histogram("vllm:request_decode_time_seconds", "First to last token.", kRequestBuckets);
  prompt_tokens_ = histogram("vllm:request_prompt_tokens", "Prompt tokens of a request.", counts);
  generation_tokens_ =
      histogram("vllm:request_generation_tokens", "Generated tokens of a request.", counts);
  const auto success = [&](FinishReason reason, const char* name) {
    MetricLabels labels = labels_;
    labels["finished_reason"] = name;
    success_[reason] =
        &metrics->AddCounter("vllm:request_success_total", "Requests that ended.", labels);
  };
  success(FinishReason::kStop, "stop");
  success(FinishReason::kLength, "length");
  success(FinishReason::kCancelled, "abort");
  success(FinishReason::kDeadline, "abort");
  success(FinishReason::kError, "error");
}

void VllmMetrics::AddState(const engine::Rank* rank, const engine::Engine* engine,
                           Metrics* metrics) {
  const kv::KvPool* const pool = &rank->pool();
  // Shared tokens count for each sequence that holds them.
  const auto kv_usage = [pool, engine] {
    return std::min(1.0, double(engine->stats().num_held_tokens) / double(pool->capacity_tokens()));
  };
  metrics->AddGauge("vllm:num_requests_running", "Requests that take part in steps.", labels_,
                    [engine] { return double(engine->stats().scheduler.num_running); });
  metrics->AddGauge("vllm:num_requests_waiting", "Requests that wait.", labels_,
                    [engine] { return double(engine->stats().scheduler.num_waiting); });
  metrics->AddGauge(
      "vllm:kv_cache_usage_perc",
      "Tokens of running requests over those that the KV pool has room for, at most 1.", labels_,
      kv_usage);
  metrics->AddGauge("vllm:gpu_cache_usage_perc", "Older name of vllm:kv_cache_usage_perc.", labels_,
                    kv_usage);
  metrics->AddCounterFrom("vllm:prompt_tokens_total", "Prompt tokens, cached ones too.", labels_,
                          [engine] {
                            const engine::EngineStats stats = engine->stats();
                            return double(stats.num_prompt_tokens + stats.prefix.hit_tokens);
                          });
  metrics->AddCounterFrom("vllm:generation_tokens_total", "Tokens generated.", labels_,
                          [engine] { return double(engine->stats().num_generated_tokens); });
  metrics->AddCounterFrom("vllm:num_preemptions_total", "Running requests that were evicted.",
                          labels_,
                          [engine] { return double(engine->stats().scheduler.num_preemptions); });
  AddVllmPrefixMetrics([engine] { return engine->stats().prefix; }, labels_, metrics);
}

void VllmMetrics::Observe(const engine::FinishEvent& event) {
  success_.at(event.reason)->Increment();
  if (event.num_generated_tokens == 0) return;
  const engine::Timings& timings = event.timings;
  const double inference = timings.prefill_seconds + timings.decode_seconds;
  time_to_first_token_->Observe(timings.time_to_first_token_seconds);
  queue_time_->Observe(timings.queue_seconds);
  prefill_time_->Observe(timings.prefill_seconds);
  decode_time_->Observe(timings.decode_seconds);
  inference_time_->Observe(inference);
  e2e_latency_->Observe(timings.queue_seconds + inference);
  prompt_tokens_->Observe(event.num_prompt_tokens);
  generation_tokens_->Observe(event.num_generated_tokens);
  if (event.num_generated_tokens > 1) {
    time_per_output_token_->Observe(timings.decode_seconds / (event.num_generated_tokens - 1));
  }
}

}  // namespace skv::server
