#include "worker/server/worker_metrics.h"

#include "absl/strings/str_cat.h"
#include "worker/policy/policy_params.h"
#include "worker/server/prefix_metrics.h"

namespace skv::server {
namespace {

constexpr const char* kReasons[] = {"stop", "length", "cancelled", "deadline", "error"};
// In the order of engine::CancelPhase.
constexpr const char* kPhases[] = {"waiting", "prefill", "prompt_end", "decode"};

}  // namespace

WorkerMetrics::WorkerMetrics(const engine::Rank* rank, int rank_idx)
    : kv_heads_(rank->kv_heads()), metrics_({{"rank", absl::StrCat(rank_idx)}}) {
  AddProcessMetrics(&metrics_);
  const engine::RankExecutor* const executor = rank->executor();
  const kv::KvPool* const pool = &rank->pool();
  metrics_.AddGauge("skv_step_age_seconds", "Seconds since this rank ended a layer: its heartbeat.",
                    {}, [executor] { return executor->step_age_seconds(); });
  metrics_.AddCounterFrom("skv_worker_steps_total", "Steps that computed something.", {},
                          [executor] { return double(executor->num_steps()); });
  metrics_.AddCounterFrom("skv_worker_tokens_total", "Token positions computed.", {},
                          [executor] { return double(executor->num_tokens()); });
  metrics_.AddGauge("skv_worker_kv_used_bytes", "Memory of the KV pool in use.", {},
                    [pool] { return double(pool->used_bytes()); });
  metrics_.AddGauge("skv_worker_kv_capacity_bytes", "KV memory of the pool.", {}, [pool] {
    return double(pool->capacity_tokens()) * pool->layout().TokenBytes();
  });
  metrics_.AddGauge("skv_worker_kv_blocks", "Live blocks of prompt tokens.", {},
                    [pool] { return double(pool->num_blocks()); });
  metrics_.AddGauge("skv_worker_kv_slot_pages", "Live slot pages.", {},
                    [pool] { return double(pool->num_slot_pages()); });
  metrics_.AddGauge("skv_worker_weight_bytes", "Packed weights of this rank.", {},
                    [rank] { return double(rank->weight_bytes()); });
  AddAudits();
}

void WorkerMetrics::AddAudits() {
  for (const std::string_view policy : policy::PolicyNames()) {
    if (!policy::HasBudget(policy)) continue;
    const std::string name(policy);
    audits_[name] = {
        .recall = &metrics_.AddHistogram(
            "skv_worker_kv_attention_recall_ratio",
            "Share of full attention's mass that an audited selection holds.",
            {0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 1},
            {{"policy", name}}),
        .output_error = &metrics_.AddHistogram(
            "skv_worker_kv_output_error_ratio",
            "Relative error of the attention output of an audited selection.",
            {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1}, {{"policy", name}})};
  }
}

void WorkerMetrics::AddLeader(const engine::Engine* engine, std::function<int()> num_open_streams) {
  const auto gauge = [&](const char* name, const char* help, auto read) {
    metrics_.AddGauge(name, help, {}, [engine, read] { return double(read(engine->stats())); });
  };
  const auto counter = [&](const char* name, const char* help, auto read) {
    metrics_.AddCounterFrom(name, help, {},
                            [engine, read] { return double(read(engine->stats())); });
  };
  using Stats = engine::EngineStats;
  gauge("skv_worker_requests_running", "Requests that take part in steps.",
        [](const Stats& s) { return s.scheduler.num_running; });
  gauge("skv_worker_requests_waiting", "Requests that wait for KV memory or a place.",
        [](const Stats& s) { return s.scheduler.num_waiting; });
  gauge("skv_worker_prefills_running", "Sequences whose prompts the running step computes.",
        [](const Stats& s) { return s.num_prefills; });
  gauge("skv_worker_queued_tokens", "Tokens that waiting requests still ask for.",
        [](const Stats& s) { return s.scheduler.queued_tokens; });
  gauge("skv_worker_kv_reserved_ratio", "Share of the KV capacity that admission has given away.",
        [](const Stats& s) {
          return double(s.scheduler.kv_tokens_reserved) / double(s.scheduler.kv_tokens_capacity);
        });
  counter("skv_worker_prompt_tokens_total", "Prompt tokens computed.",
          [](const Stats& s) { return s.num_prompt_tokens; });
  counter("skv_worker_generated_tokens_total", "Tokens generated.",
          [](const Stats& s) { return s.num_generated_tokens; });
  counter("skv_worker_preemptions_total", "Running requests that were evicted.",
          [](const Stats& s) { return s.scheduler.num_preemptions; });
  for (int i = 0; i < engine::kNumCancelPhases; ++i) {
    metrics_.AddCounterFrom("skv_worker_samples_cancelled_total",
                            "Cancelled samples, by how far they were when the cancel arrived.",
                            {{"phase", kPhases[i]}},
                            [engine, i] { return double(engine->stats().cancels.by_phase[i]); });
  }
  gauge("skv_worker_max_steps_after_cancel",
        "Most steps that carried a sample and had not ended when its cancel arrived.",
        [](const Stats& s) { return s.cancels.max_steps_after; });
  metrics_.AddGauge("skv_worker_open_streams", "Generate calls that have not ended.", {},
                    [count = std::move(num_open_streams)] { return double(count()); });
  time_to_first_token_ =
      &metrics_.AddHistogram("skv_worker_time_to_first_token_seconds",
                             "Request's arrival to its first token.", LatencyBuckets());
  queue_time_ = &metrics_.AddHistogram("skv_worker_queue_wait_seconds",
                                       "Request's arrival to its first step.", LatencyBuckets());
  time_per_output_token_ =
      &metrics_.AddHistogram("skv_worker_time_per_output_token_seconds",
                             "Mean time between a sample's tokens.", LatencyBuckets());
  for (int i = 0; i < 5; ++i) {
    finished_[i] =
        &metrics_.AddCounter("skv_worker_samples_finished_total", "Samples that ended, by reason.",
                             {{"reason", kReasons[i]}});
  }
  AddKvPolicies(engine);
  AddRecallChecks(engine);
  AddKvPlacement(engine);
  AddPrefixMetrics([engine] { return engine->stats().prefix; }, &metrics_);
}

void WorkerMetrics::AddKvPolicies(const engine::Engine* engine) {
  for (const std::string_view policy : policy::PolicyNames()) {
    const std::string name(policy);
    const MetricLabels labels{{"policy", name}};
    requests_[name] =
        &metrics_.AddCounter("skv_worker_requests_total", "Requests, by KV policy.", labels);
    const auto counter = [&](const char* metric, const char* help, auto read) {
      metrics_.AddCounterFrom(metric, help, labels, [engine, name, read] {
        const auto kv_use = engine->stats().kv_use;
        const auto it = kv_use.find(name);
        return it == kv_use.end() ? 0.0 : double(read(it->second));
      });
    };
    using Use = policy::KvUse;
    const double heads = kv_heads_.count;
    counter("skv_worker_kv_positions_total", "Generated positions that were computed.",
            [](const Use& use) { return use.positions; });
    counter("skv_worker_kv_attended_tokens_total",
            "Tokens that generated positions read, mean over layers and KV heads.",
            [heads](const Use& use) { return use.attended / heads; });
    counter("skv_worker_kv_choosing_tokens_total",
            "Tokens of as many bytes as the policy read to choose them, mean as above.",
            [this](const Use& use) {
              return policy::MeansOf(use, kv_heads_).choosing_tokens * use.positions;
            });
    counter("skv_worker_kv_visible_tokens_total",
            "Tokens that generated positions would have read with policy full.",
            [heads](const Use& use) { return use.visible / heads; });
  }
}

void WorkerMetrics::AddRecallChecks(const engine::Engine* engine) {
  for (const std::string_view policy : policy::PolicyNames()) {
    if (!policy::HasBudget(policy)) continue;
    const std::string name(policy);
    const auto counter = [&](const char* outcome, auto read) {
      metrics_.AddCounterFrom("skv_worker_kv_recall_checks_total",
                              "Selections that were held to a min_recall.",
                              {{"policy", name}, {"outcome", outcome}}, [engine, name, read] {
                                const auto recall = engine->stats().recall;
                                const auto it = recall.find(name);
                                return it == recall.end() ? 0.0 : double(read(it->second));
                              });
    };
    using Counts = policy::RecallCounts;
    counter("held", [](const Counts& counts) { return counts.checked - counts.widened; });
    counter("widened", [](const Counts& counts) { return counts.widened - counts.full; });
    counter("full", [](const Counts& counts) { return counts.full; });
  }
}

void WorkerMetrics::AddKvPlacement(const engine::Engine* engine) {
  const auto gauge = [&](const char* name, const char* help, auto read) {
    metrics_.AddGauge(name, help, {}, [engine, read] { return double(read(engine->stats())); });
  };
  const auto counter = [&](const char* name, const char* help, auto read) {
    metrics_.AddCounterFrom(
        name, help, {}, [engine, read] { return double(read(engine->stats().working_set_use)); });
  };
  using Stats = engine::EngineStats;
  using Use = kv::WorkingSetUse;
  gauge("skv_worker_kv_index_bytes",
        "Memory of the KV policies' own state: index, running queries.",
        [](const Stats& s) { return s.index_bytes; });
  gauge("skv_worker_kv_sketch_bytes", "Memory of the KV policies' sketches of keys, on the host.",
        [](const Stats& s) { return s.sketch_bytes; });
  gauge("skv_worker_kv_working_set_bytes", "Memory of the sequences' working sets.",
        [](const Stats& s) { return s.working_set_bytes; });
  gauge("skv_worker_kv_in_place_bytes",
        "Keys, values and sketches of keys that the last step read in place.",
        [](const Stats& s) { return s.step_in_place_bytes; });
  counter("skv_worker_kv_hit_rows_total", "Selected rows that lay in the working set.",
          [](const Use& use) { return use.hit_rows; });
  counter("skv_worker_kv_fetched_rows_total", "Selected rows copied into the working set.",
          [](const Use& use) { return use.fetched_rows; });
  counter("skv_worker_kv_fetched_bytes_total", "Bytes of these rows.",
          [bytes = kv_heads_.entry_bytes](const Use& use) { return use.fetched_rows * bytes; });
  counter("skv_worker_kv_evicted_rows_total", "Rows that made room in the working set.",
          [](const Use& use) { return use.evicted_rows; });
}

void WorkerMetrics::Observe(const engine::GenerationRequest& request) {
  requests_.at(request.policy.name)->Increment();
}

void WorkerMetrics::ObserveAudit(const std::string& policy,
                                 std::span<const policy::AuditSample> samples) {
  const AuditHistograms& histograms = audits_.at(policy);
  for (const policy::AuditSample& sample : samples) {
    histograms.recall->Observe(sample.recall);
    histograms.output_error->Observe(sample.output_error);
  }
}

void WorkerMetrics::Observe(const engine::FinishEvent& event) {
  finished_[static_cast<int>(event.reason)]->Increment();
  if (event.num_generated_tokens == 0) return;
  queue_time_->Observe(event.timings.queue_seconds);
  time_to_first_token_->Observe(event.timings.time_to_first_token_seconds);
  if (event.num_generated_tokens > 1) {
    time_per_output_token_->Observe(event.timings.decode_seconds /
                                    (event.num_generated_tokens - 1));
  }
}

}  // namespace skv::server
