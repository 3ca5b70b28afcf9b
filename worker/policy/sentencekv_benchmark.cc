// `sentencekv` for one layer and KV head on one thread, head_dim 64, group of 3:
//   select/CONTEXT/BUDGET/SENTENCE          a generated position, sentences of SENTENCE tokens
//   prompt/CHUNK/SENTENCE                   OnPrompt for a chunk in the middle of a long prompt
//   prompt_end/CONTEXT/FACTOR               the last chunk with the importance filter (all its
//   work)

#include <benchmark/benchmark.h>

#include <algorithm>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "worker/policy/sentencekv_policy.h"

namespace skv::policy {
namespace {

constexpr int kHeadDim = 64, kGroup = 3, kWidth = kGroup * kHeadDim;

std::vector<float> RandomFloats(size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Every position has one of 1024 random keys.
class RandomKv : public KvReader {
 public:
  void ReadKeys(int begin, int end, float* rows) const override {
    for (int t = begin; t < end; ++t, rows += kHeadDim) {
      std::copy_n(keys_.data() + t % 1024 * kHeadDim, kHeadDim, rows);
    }
  }
  void ReadValues(int, int, float*) const override {}
  void ScoreKeys(const float* queries, int num_queries, std::span<const PositionRange> ranges,
                 float* scores, int64_t score_stride) const override {
    runs_.clear();
    for (const PositionRange& range : ranges) {
      for (int t = range.begin; t < range.end; ++t) {
        const kernels::Bf16* const row = rows_.data() + t % 1024 * kHeadDim;
        runs_.push_back({row, row, 1});
      }
    }
    kernels::ScoreKeys(queries, num_queries, kHeadDim, runs_.data(), static_cast<int>(runs_.size()),
                       scores, score_stride);
  }
  void CountSketchBytes(int64_t) const override {}

 private:
  static std::vector<kernels::Bf16> Rounded(const std::vector<float>& values) {
    std::vector<kernels::Bf16> rounded(values.size());
    kernels::ConvertToBf16(values.data(), static_cast<int64_t>(values.size()), rounded.data());
    return rounded;
  }

  const std::vector<float> keys_ = RandomFloats(1024 * kHeadDim);
  const std::vector<kernels::Bf16> rows_ = Rounded(keys_);
  mutable std::vector<kernels::KvRun> runs_;
};

std::vector<Sentence> EqualSentences(int num_tokens, int length) {
  std::vector<Sentence> sentences;
  for (int end = length; end <= num_tokens; end += length) {
    sentences.push_back({end - length, end, end - 1});
  }
  return sentences;
}

void RunPrompt(const RandomKv& kv, const std::vector<float>& queries, int begin, int end,
               KvPolicy* policy) {
  policy->OnPrompt({0, 0, &kv}, {queries.data(), kWidth, begin, end - begin});
}

void BenchmarkSelect(benchmark::State& state, int context, int budget, int length) {
  constexpr int kPositions = 256;
  const RandomKv kv;
  const std::vector<float> queries = RandomFloats(int64_t{context} * kWidth);
  const std::vector<Sentence> sentences = EqualSentences(context + kPositions, length);
  const auto prompt = CreateSentenceKvPolicy({"sentencekv", budget, 0},
                                             {1, 1, kGroup, kHeadDim, context}, &sentences);
  RunPrompt(kv, queries, 0, context, prompt.get());
  std::unique_ptr<KvPolicy> policy;
  std::vector<PositionRange> attended;
  int generated = 0;
  for (auto _ : state) {
    if (generated % kPositions == 0) {
      state.PauseTiming();
      policy = prompt->ForkPrompt(&sentences);
      generated = 0;
      state.ResumeTiming();
    }
    attended.clear();
    const QueryRows query = {queries.data() + generated * kWidth, kWidth, context + generated, 1};
    policy->Select({0, 0, &kv}, query, &attended);
    benchmark::DoNotOptimize(attended.data());
    ++generated;
  }
  state.counters["ranges"] = static_cast<double>(attended.size());
  state.counters["index_KiB"] = static_cast<double>(prompt->index_bytes()) / 1024;
}

void BenchmarkPrompt(benchmark::State& state, int chunk, int length) {
  const RandomKv kv;
  const std::vector<float> queries = RandomFloats(int64_t{chunk} * kWidth);
  const std::vector<Sentence> sentences = EqualSentences(16 * chunk, length);
  std::unique_ptr<KvPolicy> policy;
  int step = 0;
  for (auto _ : state) {
    if (step % 16 == 0) {
      state.PauseTiming();
      policy = CreateSentenceKvPolicy({"sentencekv", 1024, 0}, {1, 1, kGroup, kHeadDim, 17 * chunk},
                                      &sentences);
      step = 0;
      state.ResumeTiming();
    }
    RunPrompt(kv, queries, step * chunk, (step + 1) * chunk, policy.get());
    ++step;
  }
}

void BenchmarkPromptEnd(benchmark::State& state, int context, double factor) {
  const RandomKv kv;
  const std::vector<float> queries = RandomFloats(int64_t{context} * kWidth);
  const std::vector<Sentence> sentences = EqualSentences(context, 20);
  for (auto _ : state) {
    const auto policy = CreateSentenceKvPolicy({"sentencekv", 1024, factor},
                                               {1, 1, kGroup, kHeadDim, context}, &sentences);
    RunPrompt(kv, queries, 0, context, policy.get());
  }
}

const int kRegistered = [] {
  for (const auto& [context, budget, length] :
       {std::tuple{2048, 256, 20}, {8192, 256, 20}, {8192, 1024, 20}, {8192, 1024, 8}}) {
    const std::string name = "select/" + std::to_string(context) + "/" + std::to_string(budget) +
                             "/" + std::to_string(length);
    benchmark::RegisterBenchmark(name.c_str(), BenchmarkSelect, context, budget, length);
  }
  for (const int length : {8, 20}) {
    benchmark::RegisterBenchmark(("prompt/512/" + std::to_string(length)).c_str(), BenchmarkPrompt,
                                 512, length);
  }
  benchmark::RegisterBenchmark("prompt_end/8192/2", BenchmarkPromptEnd, 8192, 2)
      ->Unit(benchmark::kMillisecond);
  return 0;
}();

}  // namespace
}  // namespace skv::policy
