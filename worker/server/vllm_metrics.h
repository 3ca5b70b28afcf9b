#pragma once
// vLLM's metric names with vLLM's meanings, beside ours, so that dashboards, autoscalers and
// endpoint pickers made for vLLM read this worker (--metrics-compat=vllm). Which of its names there
// are: docs/metrics.md. Thread-safe.

#include <map>
#include <string>

#include "common/metrics.h"
#include "worker/engine/engine.h"
#include "worker/engine/rank.h"

namespace skv::server {

class VllmMetrics {
 public:
  // Series carry `model_name` and engine="0". `metrics`, rank and engine outlive this object, and
  // whatever serializes `metrics` ends before rank and engine do.
  VllmMetrics(const std::string& model_name, int max_model_len, const engine::Rank* rank,
              const engine::Engine* engine, Metrics* metrics);

  // A sample has finished; each counts as one of vLLM's requests.
  void Observe(const engine::FinishEvent& event);

 private:
  void AddState(const engine::Rank* rank, const engine::Engine* engine, Metrics* metrics);

  const MetricLabels labels_;
  prometheus::Histogram *time_to_first_token_, *time_per_output_token_, *e2e_latency_, *queue_time_,
      *inference_time_, *prefill_time_, *decode_time_, *prompt_tokens_, *generation_tokens_;
  std::map<engine::FinishReason, prometheus::Counter*> success_;
};

}  // namespace skv::server
