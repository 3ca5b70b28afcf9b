// Time to draw one token from 49,152 logits shaped like a language model's: a few large ones over a
// broad floor.

#include <random>
#include <vector>

#include "benchmark/benchmark.h"
#include "worker/engine/sampler.h"

namespace skv::engine {
namespace {

constexpr int kVocabSize = 49152;

std::vector<float> ModelLikeLogits() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 2.5f);
  std::vector<float> logits(kVocabSize);
  for (float& logit : logits) logit = normal(random);
  for (int i = 0; i < 20; ++i) logits[random() % kVocabSize] = 14.0f - 0.4f * i;
  return logits;
}

void DrawOne(benchmark::State& bench_state, const SamplingParams& params) {
  const std::vector<float> logits = ModelLikeLogits();
  Sampler sampler(kVocabSize);
  const SamplingState state(params, {});
  int64_t position = 0;
  for (auto _ : bench_state) benchmark::DoNotOptimize(sampler.Sample(logits, state, position++));
}

BENCHMARK_CAPTURE(DrawOne, greedy, SamplingParams{.temperature = 0})->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(DrawOne, greedy_logprobs,
                  SamplingParams{.temperature = 0, .logprobs = true, .top_logprobs = 5})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(DrawOne, temperature, SamplingParams{.temperature = 0.8f})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(DrawOne, top_k, SamplingParams{.temperature = 0.8f, .top_k = 40})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(DrawOne, top_p, SamplingParams{.temperature = 0.8f, .top_p = 0.95f})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(DrawOne, flat_top_p, SamplingParams{.temperature = 100.0f, .top_p = 0.95f})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace skv::engine
