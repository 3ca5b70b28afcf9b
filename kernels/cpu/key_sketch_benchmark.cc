// Scores of 200 runs of 17 keys on one thread, ns a key:
//   sketches/HEAD_DIM/QUERIES/MIB  of sketches
//   keys/HEAD_DIM/QUERIES/MIB      of the same keys in bf16
// Lists of runs in random order cycle through keys whose sketches take MIB, or one stays in the
// cache where MIB is 0. Memory is on huge pages, as the KV pool's is.

#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "kernels/key_sketch.h"

namespace skv::kernels {
namespace {

constexpr int kRunKeys = 17;
constexpr int kRuns = 200;

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<std::byte, Free>;

Buffer Allocate(size_t bytes) {
  constexpr size_t kHugePage = size_t{2} << 20;
  bytes = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  void* const p = std::aligned_alloc(kHugePage, bytes);
  madvise(p, bytes, MADV_HUGEPAGE);
  return Buffer(static_cast<std::byte*>(p));
}

std::vector<float> RandomFloats(size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Rows of `row_bytes`, copies of those of one run, and the first rows of lists of kRuns runs each.
struct Lists {
  Lists(const std::byte* run, size_t row_bytes, int num_lists)
      : rows(Allocate(num_lists * kRuns * kRunKeys * row_bytes)), starts(num_lists * kRuns) {
    const size_t run_bytes = kRunKeys * row_bytes;
    std::vector<size_t> order(starts.size());
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(1));
    for (size_t i = 0; i < order.size(); ++i) {
      starts[i] = rows.get() + order[i] * run_bytes;
      std::memcpy(rows.get() + i * run_bytes, run, run_bytes);
    }
  }
  Buffer rows;
  std::vector<const std::byte*> starts;
};

int NumLists(int head_dim, int mebibytes) {
  const size_t list_bytes = kRuns * kRunKeys * KeySketchBytes(head_dim);
  return std::max(1, static_cast<int>((size_t(mebibytes) << 20) / list_bytes));
}

void CountKeys(benchmark::State& state) {
  const double keys = static_cast<double>(kRuns) * kRunKeys * state.iterations();
  state.counters["ns/key"] =
      benchmark::Counter(keys / 1e9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void RunSketches(benchmark::State& state, int head_dim, int num_queries, int mebibytes) {
  std::vector<std::byte> run(kRunKeys * KeySketchBytes(head_dim));
  MakeKeySketches(RandomFloats(size_t(kRunKeys) * head_dim).data(), kRunKeys, head_dim, run.data());
  const int num_lists = NumLists(head_dim, mebibytes);
  const Lists lists(run.data(), KeySketchBytes(head_dim), num_lists);
  std::vector<SketchRun> runs;
  for (const std::byte* start : lists.starts) runs.push_back({start, kRunKeys});
  const std::vector<float> queries = RandomFloats(size_t(num_queries) * head_dim);
  std::vector<std::byte> packed(SketchQueryBytes(num_queries, head_dim));
  std::vector<float> scores(size_t(num_queries) * kRuns * kRunKeys);
  int list = 0;
  for (auto _ : state) {
    PackSketchQueries(queries.data(), num_queries, head_dim, packed.data());
    ScoreSketches(packed.data(), num_queries, head_dim, &runs[list * kRuns], kRuns, scores.data(),
                  kRuns * kRunKeys);
    benchmark::ClobberMemory();
    list = (list + 1) % num_lists;
  }
  CountKeys(state);
}

void RunKeys(benchmark::State& state, int head_dim, int num_queries, int mebibytes) {
  std::vector<Bf16> run(size_t(kRunKeys) * head_dim);
  ConvertToBf16(RandomFloats(run.size()).data(), static_cast<int64_t>(run.size()), run.data());
  const int num_lists = NumLists(head_dim, mebibytes);
  const Lists lists(reinterpret_cast<const std::byte*>(run.data()), head_dim * sizeof(Bf16),
                    num_lists);
  std::vector<KvRun> runs;
  for (const std::byte* start : lists.starts) {
    const Bf16* const rows = reinterpret_cast<const Bf16*>(start);
    runs.push_back({rows, rows, kRunKeys});
  }
  const std::vector<float> queries = RandomFloats(size_t(num_queries) * head_dim);
  std::vector<float> scores(size_t(num_queries) * kRuns * kRunKeys);
  int list = 0;
  for (auto _ : state) {
    ScoreKeys(queries.data(), num_queries, head_dim, &runs[list * kRuns], kRuns, scores.data(),
              kRuns * kRunKeys);
    benchmark::ClobberMemory();
    list = (list + 1) % num_lists;
  }
  CountKeys(state);
}

const int kRegistered = [] {
  for (const auto& [head_dim, num_queries] : {std::pair{64, 1}, {64, 3}, {64, 8}, {128, 4}}) {
    for (const int mebibytes : {0, 64}) {
      const std::string shape = "/" + std::to_string(head_dim) + "/" + std::to_string(num_queries) +
                                "/" + std::to_string(mebibytes);
      benchmark::RegisterBenchmark(("sketches" + shape).c_str(), RunSketches, head_dim, num_queries,
                                   mebibytes);
      benchmark::RegisterBenchmark(("keys" + shape).c_str(), RunKeys, head_dim, num_queries,
                                   mebibytes);
    }
  }
  return 0;
}();

}  // namespace
}  // namespace skv::kernels
