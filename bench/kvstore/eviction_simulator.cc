// skv-bench-eviction: miss ratios of the store's eviction orders on synthetic traces, as JSON.

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/kvstore/replay.h"
#include "bench/kvstore/trace.h"
#include "common/flags.h"
#include "kvstore/index/lru_order.h"
#include "kvstore/index/s3fifo_order.h"

namespace skv::bench {
namespace {

constexpr double kSizes[] = {0.01, 0.1, 0.3};  // of the trace's footprint

struct Means {
  double s3fifo = 0, lru = 0, belady = 0;
  double worst_excess_points = -100;  // of S3-FIFO over LRU
};

nlohmann::json ToJson(const MissCount& count) {
  return {{"byte_miss_ratio", count.byte_ratio()}, {"block_miss_ratio", count.block_ratio()}};
}

nlohmann::json RunCell(const Trace& trace, double size, const kvstore::S3FifoOptions& options,
                       Means* means) {
  const int64_t footprint = trace.FootprintBytes();
  const auto capacity_bytes = static_cast<int64_t>(size * static_cast<double>(footprint));
  const MissCount s3fifo = Replay(trace, capacity_bytes, [&](const kvstore::OrderOptions& order) {
    return kvstore::CreateS3FifoOrder(order, options);
  });
  const MissCount lru = Replay(trace, capacity_bytes, kvstore::CreateLruOrder);
  const MissCount belady = ReplayBelady(trace, capacity_bytes);
  means->s3fifo += s3fifo.byte_ratio();
  means->lru += lru.byte_ratio();
  means->belady += belady.byte_ratio();
  means->worst_excess_points =
      std::max(means->worst_excess_points, 100 * (s3fifo.byte_ratio() - lru.byte_ratio()));
  return {{"trace", trace.name},
          {"size", size},
          {"footprint_bytes", footprint},
          {"capacity_bytes", capacity_bytes},
          {"requests", trace.requests.size()},
          {"s3fifo", ToJson(s3fifo)},
          {"lru", ToJson(lru)},
          {"belady", ToJson(belady)}};
}

nlohmann::json Run(uint64_t seed, double scale, const kvstore::S3FifoOptions& options) {
  nlohmann::json cells = nlohmann::json::array();
  Means means;
  for (const std::string_view name : TraceNames()) {
    const Trace trace = MakeTrace(name, seed, scale);
    for (const double size : kSizes) cells.push_back(RunCell(trace, size, options, &means));
  }
  const auto count = static_cast<double>(cells.size());
  return {{"seed", seed},
          {"scale", scale},
          {"cells", cells},
          {"mean_byte_miss_ratio",
           {{"s3fifo", means.s3fifo / count},
            {"lru", means.lru / count},
            {"belady", means.belady / count}}},
          {"s3fifo_over_lru", means.s3fifo / means.lru},
          {"worst_excess_points", means.worst_excess_points}};
}

int Main(int argc, char** argv) {
  int64_t seed = 1;
  double scale = 1;
  kvstore::S3FifoOptions options;
  Flags flags("skv-bench-eviction",
              "Byte and block miss ratios of the store's entry table on six synthetic traces and "
              "three cache sizes: S3-FIFO, LRU, and Belady's choice, which knows the future");
  flags.Add("seed", &seed, IntRange{0, INT64_MAX}, "Seed of the traces");
  flags.Add("scale", &scale, RealRange{0.01, 100}, "Length of the traces");
  flags.Add("small-fraction", &options.small_fraction, RealRange{0, 1},
            "Of the bytes, for the small queue of S3-FIFO, at first and at least");
  flags.Add("promote-uses", &options.promote_uses, IntRange{1, 3},
            "Uses in the small queue that lead to the main queue");
  flags.Add("ghost-fraction", &options.ghost_fraction, RealRange{0, 10},
            "Of the bytes, whose keys are remembered after they were evicted");
  flags.Add("window-fraction", &options.window_fraction, RealRange{0, 1},
            "Of the bytes, behind the end of a queue: what comes back from there moves room to it");
  flags.Add("gain", &options.gain, RealRange{0, 100}, "How fast room moves; 0: not at all");
  flags.SetExamples(
      "  skv-bench-eviction                        all cells, about 10 s\n"
      "  skv-bench-eviction --seed 7 --scale 0.1   other traces, shorter\n"
      "  skv-bench-eviction --promote-uses 2 --gain 0 | jq .s3fifo_over_lru   the paper's "
      "S3-FIFO");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  std::cout << Run(static_cast<uint64_t>(seed), scale, options).dump(2) << "\n";
  return 0;
}

}  // namespace
}  // namespace skv::bench

int main(int argc, char** argv) { return skv::bench::Main(argc, argv); }
