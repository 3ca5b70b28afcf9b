#pragma once
// What a worker process exports: gauges read from engine, executor and pool at each scrape,
// histograms fed by finished samples. Names: docs/metrics.md. Thread-safe.

#include <functional>
#include <memory>

#include "common/metrics.h"
#include "worker/engine/engine.h"
#include "worker/engine/rank.h"

namespace skv::server {

class WorkerMetrics {
 public:
  // Of every rank: its steps, tokens, KV memory. The rank outlives this object.
  WorkerMetrics(const engine::Rank* rank, int rank_idx);

  // Of the leader: its requests and queues. Whatever serializes metrics() ends before the engine
  // and what `num_open_streams` reads do.
  void AddLeader(const engine::Engine* engine, std::function<int()> num_open_streams);

  // A sample has finished.
  void Observe(const engine::FinishEvent& event);

  const Metrics& metrics() const { return metrics_; }
  Metrics& metrics() { return metrics_; }

 private:
  Metrics metrics_;
  prometheus::Histogram* time_to_first_token_ = nullptr;
  prometheus::Histogram* queue_time_ = nullptr;
  prometheus::Histogram* time_per_output_token_ = nullptr;
  prometheus::Counter* finished_[5] = {};
};

}  // namespace skv::server
