#include "kvstore/server/tier_metrics.h"

#include <string>

namespace skv::kvstore {
namespace {

// Registers what is a function of one tier's status, for each tier that there is.
class TierRegistrar {
 public:
  TierRegistrar(const Tiering* tiering, Metrics* metrics) : tiering_(tiering), metrics_(metrics) {}

  template <typename Read>
  void gauge(const char* name, const char* help, Read read) {
    Add(read, [&](const MetricLabels& labels, auto value) {
      metrics_->AddGauge(name, help, labels, value);
    });
  }
  template <typename Read>
  void counter(const char* name, const char* help, Read read) {
    Add(read, [&](const MetricLabels& labels, auto value) {
      metrics_->AddCounterFrom(name, help, labels, value);
    });
  }

 private:
  template <typename Read, typename AddOne>
  void Add(Read read, AddOne add) {
    const std::vector<TierStatus> tiers = tiering_->tiers();
    for (size_t i = 0; i < tiers.size(); ++i) {
      add({{"tier", tiers[i].name}},
          [tiering = tiering_, i, read] { return static_cast<double>(read(tiering->tiers()[i])); });
    }
  }

  const Tiering* const tiering_;
  Metrics* const metrics_;
};

void AddTiers(TierRegistrar to) {
  using Status = TierStatus;
  to.gauge("skv_kvstore_tier_on", "1 where the tier answers.",
           [](const Status& s) { return s.tier.is_on ? 1 : 0; });
  to.gauge("skv_kvstore_tier_blocks", "Blocks in the tier; 0 where it does not know.",
           [](const Status& s) { return s.tier.num_blocks; });
  to.gauge("skv_kvstore_tier_bytes", "Bytes of those.",
           [](const Status& s) { return s.tier.num_bytes; });
  to.gauge("skv_kvstore_tier_capacity_bytes", "Most bytes; 0: the tier's own affair.",
           [](const Status& s) { return s.tier.capacity_bytes; });
  to.counter("skv_kvstore_tier_hits_total", "Blocks asked for that were there.",
             [](const Status& s) { return s.tier.num_hits; });
  to.counter("skv_kvstore_tier_misses_total", "Blocks asked for that were not.",
             [](const Status& s) { return s.tier.num_misses; });
  to.counter("skv_kvstore_tier_read_bytes_total", "Bytes of blocks read.",
             [](const Status& s) { return s.tier.num_read_bytes; });
  to.counter("skv_kvstore_tier_written_bytes_total", "Bytes of blocks written.",
             [](const Status& s) { return s.tier.num_written_bytes; });
  to.counter("skv_kvstore_tier_evicted_blocks_total", "Blocks that made room for others.",
             [](const Status& s) { return s.tier.num_evicted_blocks; });
  to.counter("skv_kvstore_tier_failures_total", "Calls of the tier that failed.",
             [](const Status& s) { return s.tier.num_failures; });
  to.counter("skv_kvstore_tier_corrupt_blocks_total", "Blocks that came back damaged.",
             [](const Status& s) { return s.mover.num_corrupt_blocks; });
  to.counter("skv_kvstore_tier_promoted_entries_total", "Sentences brought to the arena.",
             [](const Status& s) { return s.mover.num_found_entries; });
  to.counter("skv_kvstore_tier_written_entries_total", "Sentences written to the tier.",
             [](const Status& s) { return s.mover.num_written_entries; });
  to.counter("skv_kvstore_tier_refused_entries_total", "Sentences that the tier did not take.",
             [](const Status& s) { return s.mover.num_failed_writes; });
  to.counter("skv_kvstore_tier_dropped_entries_total", "Sentences that waited too long in line.",
             [](const Status& s) { return s.inbox.num_dropped_writes; });
  to.gauge("skv_kvstore_tier_queue_entries", "Sentences that wait to be written.",
           [](const Status& s) { return s.inbox.num_writes; });
  to.gauge("skv_kvstore_tier_max_queue_entries", "Most of those.",
           [](const Status& s) { return s.limits.max_writes; });
  to.gauge("skv_kvstore_tier_queue_chains", "Chains that wait to be sought.",
           [](const Status& s) { return s.inbox.num_seeks; });
  to.gauge("skv_kvstore_tier_max_queue_chains", "Most of those.",
           [](const Status& s) { return s.limits.max_seeks; });
}

void AddSought(const SoughtLimits& limits, const ServerStatus* status, Metrics* metrics) {
  const auto gauge = [&](const char* name, const char* help, auto read) {
    metrics->AddGauge(name, help, {},
                      [status, read] { return static_cast<double>(read(status->gauges().tiers)); });
  };
  const auto counter = [&](const char* name, const char* help, auto read) {
    metrics->AddCounterFrom(name, help, {}, [status, read] {
      return static_cast<double>(read(status->gauges().tiers));
    });
  };
  using Gauges = TierDeskGauges;
  gauge("skv_kvstore_sought_chains", "Chains being sought in tiers.",
        [](const Gauges& g) { return g.num_sought_chains; });
  gauge("skv_kvstore_max_sought_chains", "Most of those.",
        [max = limits.max_chains](const Gauges&) { return max; });
  gauge("skv_kvstore_sought_keys", "Keys of those chains.",
        [](const Gauges& g) { return g.num_sought_keys; });
  gauge("skv_kvstore_max_sought_keys", "Most of those.",
        [max = limits.max_keys](const Gauges&) { return max; });
  gauge("skv_kvstore_absent_keys", "Keys that no tier had a short while ago.",
        [](const Gauges& g) { return g.num_absent_keys; });
  gauge("skv_kvstore_max_absent_keys", "Most of those.",
        [max = limits.max_absent](const Gauges&) { return max; });
  counter("skv_kvstore_seeks_total", "Chains sought in tiers.",
          [](const Gauges& g) { return g.num_seeks; });
  counter("skv_kvstore_refused_seeks_total", "Chains beyond a limit.",
          [](const Gauges& g) { return g.num_refused_seeks; });
  counter("skv_kvstore_expired_seeks_total", "Seeks that took too long.",
          [](const Gauges& g) { return g.num_expired_seeks; });
  counter("skv_kvstore_unplaced_seeks_total",
          "Seeks that ended since what they found has no place in the arena.",
          [](const Gauges& g) { return g.num_unplaced_seeks; });
}

void AddScrubber(const Tiering* tiering, Metrics* metrics) {
  const auto counter = [&](const char* name, const char* help, auto read) {
    metrics->AddCounterFrom(
        name, help, {}, [tiering, read] { return static_cast<double>(read(tiering->scrubber())); });
  };
  using Gauges = ScrubberGauges;
  counter("skv_kvstore_scrubbed_bytes_total", "Bytes of the arena compared with checksums.",
          [](const Gauges& g) { return g.num_checked_bytes; });
  counter("skv_kvstore_scrub_rounds_total", "Walks over all sentences.",
          [](const Gauges& g) { return g.num_rounds; });
  counter("skv_kvstore_damaged_entries_total", "Sentences dropped since a block was damaged.",
          [](const Gauges& g) { return g.num_damaged_entries; });
  counter("skv_kvstore_reported_blocks_total", "Blocks that clients found damaged.",
          [](const Gauges& g) { return g.num_reports; });
  counter("skv_kvstore_dropped_reports_total", "Of those, not looked at: too many waited.",
          [](const Gauges& g) { return g.num_dropped_reports; });
  metrics->AddGauge(
      "skv_kvstore_waiting_reports", "Reported blocks that are still to be checked.", {},
      [tiering] { return static_cast<double>(tiering->scrubber().num_waiting_reports); });
  metrics->AddGauge("skv_kvstore_max_waiting_reports", "Most of those.", {},
                    [tiering] { return static_cast<double>(tiering->max_reports()); });
}

}  // namespace

void AddTierMetrics(const Tiering* tiering, const SoughtLimits& limits, const ServerStatus* status,
                    Metrics* metrics) {
  AddTiers(TierRegistrar(tiering, metrics));
  AddSought(limits, status, metrics);
  AddScrubber(tiering, metrics);
}

}  // namespace skv::kvstore
