#include "worker/server/prefix_metrics.h"

namespace skv::server {

using engine::PrefixStats;

void AddPrefixMetrics(const PrefixStatsReader& read, Metrics* metrics) {
  const auto gauge = [&](const char* name, const char* help, auto member) {
    metrics->AddGauge(name, help, {}, [read, member] { return double(read().*member); });
  };
  const auto counter = [&](const char* name, const char* help, auto member) {
    metrics->AddCounterFrom(name, help, {}, [read, member] { return double(read().*member); });
  };
  counter("skv_worker_prefix_cache_queried_tokens_total", "Tokens of prompts that were looked up.",
          &PrefixStats::looked_up_tokens);
  counter("skv_worker_prefix_cache_hit_tokens_total", "Of these, tokens taken from the cache.",
          &PrefixStats::hit_tokens);
  counter("skv_worker_prefix_cache_waits_total",
          "Requests that waited for a prefix that another computes.", &PrefixStats::waits);
  gauge("skv_worker_prefix_cache_requests_held", "Requests that wait for such a prefix.",
        &PrefixStats::num_held);
  counter("skv_worker_prefix_cache_stored_blocks_total",
          "Computed blocks of prompts that others may find.", &PrefixStats::stored_blocks);
  counter("skv_worker_prefix_cache_private_blocks_total",
          "Computed blocks of prompts that found no place in the store.",
          &PrefixStats::private_blocks);
  gauge("skv_worker_prefix_cache_shared", "1 where other processes use the same store.",
        &PrefixStats::is_shared);
  gauge("skv_worker_prefix_cache_leases", "Leases of blocks and chains of the store.",
        &PrefixStats::num_leases);
  gauge("skv_worker_prefix_cache_mapped_bytes", "Address space of the store in this rank.",
        &PrefixStats::mapped_bytes);
  gauge("skv_worker_prefix_cache_own_bytes", "Blocks that lie in memory of this process.",
        &PrefixStats::own_bytes);
  counter("skv_worker_prefix_cache_failures_total",
          "Requests to the store, and items of them, that failed.", &PrefixStats::num_failures);
  counter("skv_worker_prefix_cache_corrupt_blocks_total",
          "Blocks of the store that were not whole, or not those asked for.",
          &PrefixStats::num_corrupt_blocks);
  counter("skv_worker_prefix_cache_verified_blocks_total",
          "Cached blocks that were computed again and compared.",
          &PrefixStats::num_verified_blocks);
  counter("skv_worker_prefix_cache_different_blocks_total",
          "Of these, blocks that were not what computing them gives.",
          &PrefixStats::num_different_blocks);
}

void AddVllmPrefixMetrics(const PrefixStatsReader& read, const MetricLabels& labels,
                          Metrics* metrics) {
  metrics->AddCounterFrom("vllm:prefix_cache_queries_total",
                          "Tokens of prompts that were looked up.", labels,
                          [read] { return double(read().looked_up_tokens); });
  metrics->AddCounterFrom("vllm:prefix_cache_hits_total", "Of these, tokens taken from the cache.",
                          labels, [read] { return double(read().hit_tokens); });
}

}  // namespace skv::server
