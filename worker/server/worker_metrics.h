#pragma once
// What a worker process exports: gauges read from engine, executor and pool at each scrape,
// histograms fed by finished samples. Names: docs/metrics.md. Thread-safe.

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "common/metrics.h"
#include "worker/engine/engine.h"
#include "worker/engine/rank.h"
#include "worker/policy/kv_means.h"
#include "worker/policy/selection_audit.h"

namespace skv::server {

class WorkerMetrics {
 public:
  // Of every rank: its steps, tokens, KV memory, audits. The rank outlives this object.
  WorkerMetrics(const engine::Rank* rank, int rank_idx);

  // Of the leader: its requests, queues and KV policies. Whatever serializes metrics() ends before
  // the engine and what `num_open_streams` reads do.
  void AddLeader(const engine::Engine* engine, std::function<int()> num_open_streams);

  // A request goes to the engine; its policy is a known one.
  void Observe(const engine::GenerationRequest& request);

  // A sample has finished.
  void Observe(const engine::FinishEvent& event);

  // This rank has audited selections of a policy, a known one that does not attend everything.
  void ObserveAudit(const std::string& policy, std::span<const policy::AuditSample> samples);

  const Metrics& metrics() const { return metrics_; }
  Metrics& metrics() { return metrics_; }

 private:
  struct AuditHistograms {
    prometheus::Histogram* recall;
    prometheus::Histogram* output_error;
  };
  void AddAudits();
  void AddRecallChecks(const engine::Engine* engine);
  void AddKvPolicies(const engine::Engine* engine);
  void AddKvPlacement(const engine::Engine* engine);

  const policy::KvHeads kv_heads_;  // of this rank
  Metrics metrics_;
  prometheus::Histogram* time_to_first_token_ = nullptr;
  prometheus::Histogram* queue_time_ = nullptr;
  prometheus::Histogram* time_per_output_token_ = nullptr;
  prometheus::Counter* finished_[5] = {};
  std::map<std::string, prometheus::Counter*> requests_;  // by policy
  std::map<std::string, AuditHistograms> audits_;         // by policy
};

}  // namespace skv::server
