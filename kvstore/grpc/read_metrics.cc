#include "kvstore/grpc/read_metrics.h"

namespace skv::kvstore {

void AddReadMetrics(const KvStoreServiceOptions& options, const KvStoreService* service,
                    Metrics* metrics) {
  const auto gauge = [&](const char* name, const char* help, auto read) {
    metrics->AddGauge(name, help, {}, [service, read] {
      return static_cast<double>(read(service->read_gauges()));
    });
  };
  const auto counter = [&](const char* name, const char* help, auto read) {
    metrics->AddCounterFrom(name, help, {}, [service, read] {
      return static_cast<double>(read(service->read_gauges()));
    });
  };
  using Gauges = ReadGauges;
  gauge("skv_kvstore_read_streams", "Read calls.", [](const Gauges& g) { return g.num_streams; });
  gauge("skv_kvstore_max_read_streams", "Most Read calls.",
        [max = options.max_read_streams](const Gauges&) { return max; });
  gauge("skv_kvstore_read_held_bytes", "Bytes of blocks that Read calls hold.",
        [](const Gauges& g) { return g.num_held_bytes; });
  counter("skv_kvstore_reads_total", "Read calls that were let in.",
          [](const Gauges& g) { return g.num_reads; });
  counter("skv_kvstore_refused_reads_total", "Read calls beyond the most.",
          [](const Gauges& g) { return g.num_refused; });
  counter("skv_kvstore_sent_blocks_total", "Blocks sent by Read calls that ended well.",
          [](const Gauges& g) { return g.num_sent_blocks; });
  counter("skv_kvstore_sent_bytes_total", "Bytes of those.",
          [](const Gauges& g) { return g.num_sent_bytes; });
}

}  // namespace skv::kvstore
