// Time to list the runs of one (layer, head): a decode step asks 90 times for each sequence.

#include <vector>

#include "benchmark/benchmark.h"
#include "worker/kv/sequence_cache.h"

namespace skv::kv {
namespace {

constexpr KvLayout kLayout{.num_layers = 30, .num_kv_heads = 3, .head_dim = 64, .element_bytes = 2};
constexpr int kSentenceTokens = 21;

struct Prompt {
  explicit Prompt(int num_tokens) : pool(*KvPool::Create(kLayout, 2 * num_tokens)) {
    std::vector<int> ends;
    for (int end = kSentenceTokens; end < num_tokens; end += kSentenceTokens) ends.push_back(end);
    cache = std::make_unique<SequenceCache>(pool.get(), num_tokens, ends);
    cache->Reserve(num_tokens).IgnoreError();
  }
  std::unique_ptr<KvPool> pool;
  std::unique_ptr<SequenceCache> cache;
};

void WholeSequence(benchmark::State& bench_state) {
  const int num_tokens = static_cast<int>(bench_state.range(0));
  const Prompt prompt(num_tokens);
  std::vector<KvRun> runs;
  int layer = 0;
  for (auto _ : bench_state) {
    runs.clear();
    prompt.cache->AppendRuns(layer++ % kLayout.num_layers, 1, 0, num_tokens, &runs);
    benchmark::DoNotOptimize(runs.data());
  }
  bench_state.counters["runs"] = static_cast<double>(runs.size());
}
BENCHMARK(WholeSequence)->Arg(8192)->Arg(32768);

// 50 selected sentences of a long prompt.
void SelectedSentences(benchmark::State& bench_state) {
  const int num_tokens = static_cast<int>(bench_state.range(0));
  const Prompt prompt(num_tokens);
  const int stride = num_tokens / kSentenceTokens / 50 * kSentenceTokens;
  std::vector<KvRun> runs;
  int layer = 0;
  for (auto _ : bench_state) {
    runs.clear();
    ++layer;
    for (int i = 0; i < 50; ++i) {
      prompt.cache->AppendRuns(layer % kLayout.num_layers, 1, i * stride,
                               i * stride + kSentenceTokens, &runs);
    }
    benchmark::DoNotOptimize(runs.data());
  }
  bench_state.counters["runs"] = static_cast<double>(runs.size());
}
BENCHMARK(SelectedSentences)->Arg(32768);

}  // namespace
}  // namespace skv::kv
