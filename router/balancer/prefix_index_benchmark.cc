// What the index of prefixes takes from a core, full of 10^7 keys of 256 caches.
//
//   CachedTokens/K/H  a prompt of K sentences for all 256 caches; one cache has the first H of them
//   AddPrompt/K       a prompt of K sentences that is new

#include <numeric>
#include <random>
#include <vector>

#include "benchmark/benchmark.h"
#include "router/balancer/prefix_index.h"
#include "router/balancer/testing/numbered_chain.h"

namespace skv::router {
namespace {

constexpr size_t kMaxKeys = 10'000'000;
constexpr int kNumCaches = 256;

PrefixKey RandomKey(std::mt19937_64* random) {
  PrefixKey key;
  for (uint8_t& byte : key.bytes) byte = static_cast<uint8_t>((*random)());
  return key;
}

struct FullIndex {
  FullIndex() : index(kMaxKeys), caches(kNumCaches) {
    std::iota(caches.begin(), caches.end(), 0);
    index.SetCaches(caches);
    std::mt19937_64 random(1);
    for (size_t i = 0; i < kMaxKeys; ++i) {
      const PrefixKey key = RandomKey(&random);
      index.Add(static_cast<CacheId>(i % kNumCaches), {&key, 1});
    }
  }
  PrefixIndex index;
  std::vector<CacheId> caches;
};

FullIndex& Shared() {
  static FullIndex full;
  return full;
}

void CachedTokens(benchmark::State& state) {
  FullIndex& full = Shared();
  // Others, so that no prompt is still in the processor's caches when its turn comes again.
  std::vector<PrefixChain> prompts;
  for (int i = 0; i < 1000; ++i) {
    prompts.push_back(NumberedChain({{i << 12, static_cast<int>(state.range(0))}}));
    const auto known = std::span(prompts.back().keys).first(static_cast<size_t>(state.range(1)));
    full.index.Add(i % kNumCaches, known);
  }
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        full.index.CachedTokens(prompts[next++ % prompts.size()], full.caches));
  }
}
BENCHMARK(CachedTokens)->Args({100, 0})->Args({800, 0})->Args({800, 400})->Args({800, 800});

void AddPrompt(benchmark::State& state) {
  FullIndex& full = Shared();
  std::mt19937_64 random(2);
  PrefixChain prompt = NumberedChain({{0, static_cast<int>(state.range(0))}});
  for (auto _ : state) {
    state.PauseTiming();
    for (PrefixKey& key : prompt.keys) key = RandomKey(&random);
    state.ResumeTiming();
    full.index.AddPrompt(0, prompt);
  }
}
BENCHMARK(AddPrompt)->Arg(800);

}  // namespace
}  // namespace skv::router
