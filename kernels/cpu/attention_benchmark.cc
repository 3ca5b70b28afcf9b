// Attention of one KV head on one thread:
//   prefill/HEAD_DIM/GROUP/CONTEXT/CHUNK  Gop/s (4 per head_dim, query head and visible entry),
//   share
//                                         of the probes' bf16 peak
//   decode/HEAD_DIM/GROUP/CONTEXT/RUN     GB/s of keys and values in shuffled runs of RUN rows, 256
//   MB
//                                         in all, share of the probes' read bandwidth
//   scores/HEAD_DIM/GROUP/CONTEXT/1      ns a key of a list that stays in the cache; /0: of 256 MB
// Memory is on huge pages, as the KV pool's is.

#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "kernels/cpu/probes.h"

namespace skv::kernels {
namespace {

struct FreeAligned {
  void operator()(void* p) const { std::free(p); }
};
template <class T>
using AlignedArray = std::unique_ptr<T[], FreeAligned>;

template <class T>
AlignedArray<T> AllocateAligned(size_t count) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t bytes = (count * sizeof(T) + kHugePage - 1) / kHugePage * kHugePage;
  void* const p = std::aligned_alloc(kHugePage, bytes);
  madvise(p, bytes, MADV_HUGEPAGE);
  return AlignedArray<T>(static_cast<T*>(p));
}

AttentionShape Shape(int head_dim, int group_size) {
  return {head_dim, group_size, 1.0f / std::sqrt(static_cast<float>(head_dim))};
}

std::vector<float> RandomFloats(size_t count, float deviation) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Keys and values of `num_heads` lists of `context` entries, cut into runs that lie in random
// order.
class Lists {
 public:
  Lists(int head_dim, int context, int run_rows, int num_heads)
      : k_(Fill(head_dim, context, num_heads)), v_(Fill(head_dim, context, num_heads)) {
    const int per_head = context / run_rows;
    std::vector<int> order(per_head * num_heads);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(1));
    runs_.resize(num_heads);
    for (int i = 0; i < static_cast<int>(order.size()); ++i) {
      const int64_t at = int64_t{order[i]} * run_rows * head_dim;
      runs_[i / per_head].push_back({k_.get() + at, v_.get() + at, run_rows});
    }
  }
  const std::vector<KvRun>& runs(int head) const { return runs_[head]; }

 private:
  static AlignedArray<Bf16> Fill(int head_dim, int context, int num_heads) {
    const int64_t count = int64_t{context} * head_dim;
    AlignedArray<Bf16> rows = AllocateAligned<Bf16>(count * num_heads);
    ConvertToBf16(RandomFloats(count, 1.0f).data(), count, rows.get());
    for (int head = 1; head < num_heads; ++head) {
      std::copy_n(rows.get(), count, rows.get() + head * count);
    }
    return rows;
  }

  AlignedArray<Bf16> k_, v_;
  std::vector<std::vector<KvRun>> runs_;
};

void RunPrefill(benchmark::State& state, int head_dim, int group_size, int context, int chunk) {
  const AttentionShape shape = Shape(head_dim, group_size);
  const Lists lists(head_dim, context, 16, 1);
  const std::vector<KvRun>& runs = lists.runs(0);
  const int64_t stride = int64_t{group_size} * head_dim;
  const std::vector<float> q = RandomFloats(chunk * stride, 4.0f);
  std::vector<float> out(q.size());
  const AlignedArray<std::byte> scratch = AllocateAligned<std::byte>(AttentionScratchBytes(shape));
  const int first_visible = context - chunk + 1;
  for (auto _ : state) {
    AttendPrefill(shape, runs.data(), static_cast<int>(runs.size()), q.data(), stride, chunk,
                  first_visible, out.data(), stride, scratch.get());
    benchmark::ClobberMemory();
  }
  const double visible = chunk * (first_visible + (chunk - 1) / 2.0);
  const double giga_ops = 4.0 * visible * group_size * head_dim * state.iterations() / 1e9;
  static const double peak = MeasureBf16Peak(1, 0.3);
  state.counters["Gop/s"] = benchmark::Counter(giga_ops, benchmark::Counter::kIsRate);
  state.counters["of_bf16"] = benchmark::Counter(giga_ops / peak, benchmark::Counter::kIsRate);
}

// One list, which stays in the cache, or 256 MB of keys and values in turn.
void RunScores(benchmark::State& state, int head_dim, int group_size, int context, bool in_cache) {
  constexpr int kRunRows = 16;
  const int64_t head_bytes = int64_t{context} * head_dim * 2 * sizeof(Bf16);
  const int num_heads = in_cache ? 1 : static_cast<int>((int64_t{256} << 20) / head_bytes);
  const Lists lists(head_dim, context, kRunRows, num_heads);
  const std::vector<float> q = RandomFloats(int64_t{group_size} * head_dim, 4.0f);
  std::vector<float> scores(int64_t{group_size} * context);
  int head = 0;
  for (auto _ : state) {
    const std::vector<KvRun>& runs = lists.runs(head);
    ScoreKeys(q.data(), group_size, head_dim, runs.data(), static_cast<int>(runs.size()),
              scores.data(), context);
    benchmark::ClobberMemory();
    head = (head + 1) % num_heads;
  }
  state.counters["ns/key"] =
      benchmark::Counter(static_cast<double>(context) * state.iterations() / 1e9,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void RunDecode(benchmark::State& state, int head_dim, int group_size, int context, int run_rows) {
  const AttentionShape shape = Shape(head_dim, group_size);
  const int64_t head_bytes = int64_t{context} * head_dim * 2 * sizeof(Bf16);
  const int num_heads = static_cast<int>((int64_t{256} << 20) / head_bytes);
  const Lists lists(head_dim, context, run_rows, num_heads);
  const std::vector<float> q = RandomFloats(int64_t{group_size} * head_dim, 4.0f);
  std::vector<float> out(q.size());
  const int num_groups = (context + kAttentionGroup - 1) / kAttentionGroup;
  std::vector<float> states(int64_t{num_groups} * AttentionStateFloats(shape));
  const AlignedArray<std::byte> scratch = AllocateAligned<std::byte>(AttentionScratchBytes(shape));
  int head = 0;
  for (auto _ : state) {
    const std::vector<KvRun>& runs = lists.runs(head);
    AttendGroups(shape, runs.data(), static_cast<int>(runs.size()), q.data(), context, 0,
                 num_groups, states.data(), scratch.get());
    MergeGroups(shape, states.data(), num_groups, out.data());
    benchmark::ClobberMemory();
    head = (head + 1) % num_heads;
  }
  const double giga_bytes = static_cast<double>(head_bytes) * state.iterations() / 1e9;
  static const double bandwidth = MeasureReadBandwidth(1, 0.5, size_t{256} << 20);
  state.counters["GB/s"] = benchmark::Counter(giga_bytes, benchmark::Counter::kIsRate);
  state.counters["of_read"] =
      benchmark::Counter(giga_bytes / bandwidth, benchmark::Counter::kIsRate);
}

std::string Name(const char* what, int a, int b, int c, int d) {
  std::string name = what;
  for (const int x : {a, b, c, d}) name += "/" + std::to_string(x);
  return name;
}

const int kRegistered = [] {
  for (const auto& [head_dim, group_size] : {std::pair{64, 3}, {64, 4}, {128, 4}, {96, 8}}) {
    for (const auto& [context, chunk] : {std::pair{512, 512}, {4096, 512}, {4096, 32}}) {
      benchmark::RegisterBenchmark(Name("prefill", head_dim, group_size, context, chunk).c_str(),
                                   RunPrefill, head_dim, group_size, context, chunk);
    }
    for (const auto& [context, run_rows] : {std::pair{512, 128}, {4096, 16}, {4096, 128}}) {
      benchmark::RegisterBenchmark(Name("decode", head_dim, group_size, context, run_rows).c_str(),
                                   RunDecode, head_dim, group_size, context, run_rows);
    }
    for (const bool in_cache : {true, false}) {
      benchmark::RegisterBenchmark(Name("scores", head_dim, group_size, 2048, in_cache).c_str(),
                                   RunScores, head_dim, group_size, 2048, in_cache);
    }
  }
  return 0;
}();

}  // namespace
}  // namespace skv::kernels
