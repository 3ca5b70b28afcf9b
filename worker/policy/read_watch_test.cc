#include "worker/policy/read_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "common/testing/status_matchers.h"
#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"
#include "worker/policy/watched_policy.h"

namespace skv::policy {
namespace {

constexpr int kPrompt = 150, kTokens = 170;
const SequenceShape kShape = {.num_layers = 2,
                              .num_kv_heads = 2,
                              .group_size = 3,
                              .head_dim = 32,
                              .num_prompt_tokens = kPrompt};

// Of its prompt's sentences, cut at the prompt's end.
std::vector<int> SentenceEnds(const TestSequence& sequence) {
  std::vector<int> ends;
  for (const Sentence& sentence : sequence.sentences) {
    if (sentence.end < kPrompt) ends.push_back(sentence.end);
  }
  ends.push_back(kPrompt);
  return ends;
}

PolicyDriver::Creator Watching(const PolicyParams& params, std::vector<int> ends,
                               WatchedPolicy** watched) {
  return [=](const SequenceShape& shape, const std::vector<Sentence>* sentences) {
    auto policy = CreatePolicy(params, shape, sentences);
    EXPECT_OK(policy);
    auto watching = std::make_unique<WatchedPolicy>(std::move(policy).value(), shape);
    watching->WatchReads(ends);
    *watched = watching.get();
    return watching;
  };
}

// What [2, num_sentences] of a generated position must be, in double precision.
std::vector<double> Expected(const TestSequence& sequence, const std::vector<int>& ends,
                             const Selections& selections, int position) {
  const int count = static_cast<int>(ends.size());
  std::vector<double> reads(2 * count, 0.0);
  for (int number = 0; number < kShape.num_layers * kShape.num_kv_heads; ++number) {
    const int layer = number / kShape.num_kv_heads, head = number % kShape.num_kv_heads;
    std::vector<int> attended;
    for (const PositionRange& range : selections[number][position - kPrompt]) {
      for (int t = range.begin; t < range.end; ++t) attended.push_back(t);
    }
    for (int s = 0, begin = 0; s < count; begin = ends[s++]) {
      const auto tokens =
          std::ranges::count_if(attended, [&](int t) { return t >= begin && t < ends[s]; });
      reads[count + s] += 2 * tokens >= ends[s] - begin;
      for (int h = 0; h < kShape.group_size; ++h) {
        const float* const query =
            sequence.Query(layer, head, position) + int64_t{h} * kShape.head_dim;
        double share = 0, total = 0;
        for (const int t : attended) {
          double dot = 0;
          for (int c = 0; c < kShape.head_dim; ++c)
            dot += query[c] * sequence.Key(layer, head, t)[c];
          const double weight = std::exp(dot / std::sqrt(kShape.head_dim));
          total += weight;
          if (t >= std::max(begin, kSinkTokens) && t < ends[s]) share += weight;
        }
        reads[s] = std::max(reads[s], share / total);
      }
    }
  }
  return reads;
}

class ReadWatchTest : public testing::TestWithParam<PolicyParams> {};

TEST_P(ReadWatchTest, MeasuresWhatThePolicySelectsAndChangesNothingOfIt) {
  const TestSequence sequence =
      MakeRandomSequence({.shape = kShape, .num_tokens = kTokens, .max_sentence = 20}, 1);
  const std::vector<int> ends = SentenceEnds(sequence);
  WatchedPolicy* watched = nullptr;
  PolicyDriver driver(sequence, Watching(GetParam(), ends, &watched));
  std::mt19937 random(1);
  driver.RunTo(kPrompt, 64, random);
  for (int first = kPrompt; first < kTokens; first += 10) {
    watched->BeginStep(first, 10);
    driver.StepOnThreads(first + 10);
    const std::span<const float> reads = watched->reads()->step_reads();
    ASSERT_EQ(reads.size(), 10 * 2 * ends.size());
    for (int i = 0; i < 10; ++i) {
      const std::vector<double> want = Expected(sequence, ends, driver.selections(), first + i);
      for (size_t k = 0; k < want.size(); ++k) {
        ASSERT_NEAR(reads[i * want.size() + k], want[k], 1e-4) << i << " " << k;
      }
    }
  }
  EXPECT_EQ(driver.selections(), RunPolicy(sequence, GetParam(), 7, 2));
}

TEST_P(ReadWatchTest, AForkWatchesForItself) {
  const TestSequence sequence =
      MakeRandomSequence({.shape = kShape, .num_tokens = kTokens, .max_sentence = 20}, 1);
  const std::vector<int> ends = SentenceEnds(sequence);
  WatchedPolicy* watched = nullptr;
  PolicyDriver parent(sequence, Watching(GetParam(), ends, &watched));
  std::mt19937 random(1);
  parent.RunTo(kPrompt, 64, random);
  const auto child_sentences = sequence.SentencesKnownBefore(kTokens);
  const auto child = parent.policy().ForkPrompt(&child_sentences);
  auto& child_watched = static_cast<WatchedPolicy&>(*child);
  EXPECT_EQ(child_watched.reads()->sentence_ends(), ends);
  child_watched.BeginStep(kPrompt, 1);
  watched->BeginStep(kPrompt, 1);
  parent.StepOnThreads(kPrompt + 1);
  EXPECT_THAT(child_watched.reads()->step_reads(), testing::Each(0.0f))
      << "only the parent has read";
  EXPECT_THAT(watched->reads()->step_reads(), testing::Contains(testing::Gt(0.0f)));
}

INSTANTIATE_TEST_SUITE_P(All, ReadWatchTest,
                         testing::Values(PolicyParams{},
                                         PolicyParams{.name = "sentencekv", .budget_tokens = 64}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace skv::policy
