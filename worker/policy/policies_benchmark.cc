// Every policy for one KV head of three layers, of which `quest` selects in the last, on one
// thread, head_dim 64, group of 3:
//   prompt/NAME/CONTEXT/BUDGET      OnPrompt for a whole prompt, in steps of up to 512 positions
//   prompt_end/NAME/CONTEXT/BUDGET  OnPrompt for its last PromptQueries positions, when all before
//                                   them are cached
//   generated/NAME/CONTEXT/BUDGET   Select for 64 positions after it

#include <benchmark/benchmark.h>

#include <random>
#include <string>

#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {
namespace {

constexpr int kGenerated = 64;

TestSequence MakeSequence(int context) {
  return MakeRandomSequence({{3, 1, 3, 64, context}, context + kGenerated}, /*seed=*/1);
}

void BenchmarkPrompt(benchmark::State& state, const PolicyParams& params, int context) {
  const TestSequence sequence = MakeSequence(context);
  for (auto _ : state) {
    std::mt19937 random(1);
    PolicyDriver driver(sequence, params);
    driver.RunTo(context, /*max_step=*/512, random);
  }
}

void BenchmarkPromptEnd(benchmark::State& state, const PolicyParams& params, int context) {
  const TestSequence sequence = MakeSequence(context);
  for (auto _ : state) {
    std::mt19937 random(1);
    PolicyDriver driver(sequence, params);
    driver.BeginBehind(context - PromptQueries(params, context));
    driver.RunTo(context, /*max_step=*/512, random);
  }
}

void BenchmarkGenerated(benchmark::State& state, const PolicyParams& params, int context) {
  const TestSequence sequence = MakeSequence(context);
  std::mt19937 random(1);
  PolicyDriver prompt(sequence, params);
  prompt.RunTo(context, context, random);
  size_t index_bytes = 0;
  for (auto _ : state) {
    state.PauseTiming();
    PolicyDriver driver(sequence, prompt);
    state.ResumeTiming();
    driver.RunTo(sequence.num_tokens, /*max_step=*/1, random);
    index_bytes = driver.policy().index_bytes();
  }
  state.counters["index_KiB"] = static_cast<double>(index_bytes) / 1024;
}

const int kRegistered = [] {
  for (const std::string_view name : PolicyNames()) {
    if (!HasBudget(name)) continue;
    for (const auto& [context, budget] : {std::pair{2048, 256}, {8192, 1024}}) {
      const PolicyParams params = {std::string(name), budget, 0};
      const std::string suffix =
          params.name + "/" + std::to_string(context) + "/" + std::to_string(budget);
      benchmark::RegisterBenchmark(("prompt/" + suffix).c_str(), BenchmarkPrompt, params, context)
          ->Unit(benchmark::kMillisecond);
      if (PromptQueries(params, context) < context) {
        benchmark::RegisterBenchmark(("prompt_end/" + suffix).c_str(), BenchmarkPromptEnd, params,
                                     context)
            ->Unit(benchmark::kMillisecond);
      }
      benchmark::RegisterBenchmark(("generated/" + suffix).c_str(), BenchmarkGenerated, params,
                                   context)
          ->Unit(benchmark::kMicrosecond);
    }
  }
  return 0;
}();

}  // namespace
}  // namespace skv::policy
