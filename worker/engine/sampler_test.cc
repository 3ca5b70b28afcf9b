#include "worker/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::engine {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> RandomLogits(int n, int seed, float scale) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

TokenId SampleToken(const std::vector<float>& logits, const SamplingParams& params,
                    int64_t position = 0) {
  Sampler sampler(static_cast<int>(logits.size()));
  return sampler.Sample(logits, SamplingState(params, {}), position).value().token;
}

// What the documentation says, slowly: sort all, doubles throughout.
std::vector<double> ReferenceProbabilities(const std::vector<float>& logits,
                                           const SamplingParams& params) {
  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  std::vector<double> weights(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    weights[i] = std::exp((double{logits[i]} - logits[order[0]]) / params.temperature);
  }
  size_t num_kept = order.size();
  while (weights[order[num_kept - 1]] < params.min_p) --num_kept;
  if (params.top_k > 0) num_kept = std::min<size_t>(num_kept, params.top_k);
  double total = 0.0;
  for (size_t i = 0; i < num_kept; ++i) total += weights[order[i]];
  double reached = 0.0;
  for (size_t i = 0; i < num_kept; ++i) {
    reached += weights[order[i]];
    if (reached >= params.top_p * total) num_kept = i + 1;
  }
  std::vector<double> probabilities(logits.size(), 0.0);
  for (size_t i = 0; i < num_kept; ++i) probabilities[order[i]] = weights[order[i]] / reached;
  return probabilities;
}

// Pearson's statistic over bins that expect at least 10, less its degrees of freedom, in standard
// deviations; infinite when a token was drawn that has no probability.
double ChiSquareSigmas(const std::vector<int>& counts, const std::vector<double>& probabilities) {
  const int num_draws = std::accumulate(counts.begin(), counts.end(), 0);
  double statistic = 0.0, pooled_expected = 0.0, pooled_count = 0.0;
  int num_bins = 0;
  const auto add_bin = [&](double count, double expected) {
    statistic += (count - expected) * (count - expected) / expected;
    ++num_bins;
  };
  for (size_t i = 0; i < counts.size(); ++i) {
    const double expected = probabilities[i] * num_draws;
    if (probabilities[i] == 0.0 && counts[i] > 0) return kInfinity;
    if (expected >= 10.0) {
      add_bin(counts[i], expected);
    } else {
      pooled_expected += expected;
      pooled_count += counts[i];
    }
  }
  if (pooled_expected >= 10.0) add_bin(pooled_count, pooled_expected);
  const double freedom = std::max(1, num_bins - 1);
  return (statistic - freedom) / std::sqrt(2.0 * freedom);
}

TEST(SamplerTest, DrawsFollowTheExactProbabilities) {
  const struct {
    const char* why;
    int vocab_size;
    float scale;
    SamplingParams params;
  } kCases[] = {
      {"plain", 1000, 2.0f, {}},
      {"two blocks and a tail", 1100, 0.3f, {}},
      {"cold", 1000, 2.0f, {.temperature = 0.5f}},
      {"hot", 300, 5.0f, {.temperature = 3.0f}},
      {"top_k of few", 1000, 1.0f, {.top_k = 7}},
      {"top_k over the number of blocks", 1000, 1.0f, {.top_k = 200}},
      {"top_k of all", 1000, 1.0f, {.top_k = 1000}},
      {"top_p", 1000, 2.0f, {.top_p = 0.9f}},
      {"top_p over a flat distribution", 1000, 0.1f, {.top_p = 0.5f}},
      {"min_p", 1000, 2.0f, {.min_p = 0.05f}},
      {"min_p then top_k then top_p",
       1000,
       1.5f,
       {.temperature = 1.3f, .top_p = 0.8f, .min_p = 0.02f, .top_k = 30}},
      {"top_p counts against what top_k kept", 1000, 1.0f, {.top_p = 0.6f, .top_k = 20}},
      {"top_p counts against what min_p kept", 1000, 1.0f, {.top_p = 0.6f, .min_p = 0.3f}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    const std::vector<float> logits = RandomLogits(c.vocab_size, 5, c.scale);
    const std::vector<double> probabilities = ReferenceProbabilities(logits, c.params);
    Sampler sampler(c.vocab_size);
    SamplingParams params = c.params;
    params.seed = 11;
    const SamplingState state(params, {});
    std::vector<int> counts(c.vocab_size, 0);
    for (int position = 0; position < 10000; ++position) {
      ++counts[sampler.Sample(logits, state, position).value().token];
    }
    EXPECT_LT(ChiSquareSigmas(counts, probabilities), 4.0);
    EXPECT_GT(ChiSquareSigmas(counts, probabilities), -4.0) << "too even to be drawn";
  }
}

TEST(SamplerTest, FiltersLetNoOtherTokenThroughThanTheReferences) {
  std::mt19937 random(3);
  const auto draw = [&](double min, double max) {
    return std::uniform_real_distribution<double>(min, max)(random);
  };
  for (int i = 0; i < 300; ++i) {
    SCOPED_TRACE(i);
    const int vocab_size = static_cast<int>(draw(2, 3000));
    const std::vector<float> logits = RandomLogits(vocab_size, i, static_cast<float>(draw(0.1, 6)));
    SamplingParams params{.temperature = static_cast<float>(draw(0.2, 2))};
    if (draw(0, 1) < 0.5) params.top_p = static_cast<float>(draw(0.05, 0.999));
    if (draw(0, 1) < 0.5) params.top_k = static_cast<int>(draw(1, vocab_size));
    if (draw(0, 1) < 0.5) params.min_p = static_cast<float>(draw(0, 0.5));
    const std::vector<double> probabilities = ReferenceProbabilities(logits, params);
    Sampler sampler(vocab_size);
    for (int k = 0; k < 50; ++k) {
      params.seed = k;
      const auto sampled = sampler.Sample(logits, SamplingState(params, {}), 9);
      EXPECT_GT(probabilities[sampled.value().token], 0.0);
    }
  }
}

TEST(SamplerTest, TheDrawIsAFunctionOfLogitsParamsAndPosition) {
  const std::vector<float> logits = RandomLogits(5000, 1, 1.0f);
  for (const SamplingParams& base :
       {SamplingParams{.seed = 3}, SamplingParams{.top_p = 0.95f, .seed = 3}}) {
    Sampler used(5000);
    const SamplingState state(base, {});
    std::vector<TokenId> forwards, backwards;
    for (int p = 0; p < 100; ++p) forwards.push_back(used.Sample(logits, state, p)->token);
    for (int p = 99; p >= 0; --p) backwards.push_back(SampleToken(logits, base, p));
    std::reverse(backwards.begin(), backwards.end());
    EXPECT_EQ(forwards, backwards);
    SamplingParams other = base;
    other.seed = 4;
    int num_equal = 0;
    for (int p = 0; p < 100; ++p) num_equal += SampleToken(logits, other, p) == forwards[p];
    EXPECT_LT(num_equal, 20) << "another seed draws other tokens";
  }
}

TEST(SamplerTest, GreedyTakesTheLargestAndOfEqualsTheSmallerId) {
  std::vector<float> logits(100, 0.0f);
  logits[70] = logits[41] = 5.0f;
  logits[3] = 4.0f;
  for (const SamplingParams& params :
       {SamplingParams{.temperature = 0}, SamplingParams{.temperature = 1e-6f},
        SamplingParams{.temperature = 0, .top_p = 0.1f, .min_p = 0.5f, .top_k = 1}}) {
    EXPECT_EQ(SampleToken(logits, params), 41);
  }
  EXPECT_EQ(SampleToken(logits, {.top_k = 1}), 41) << "top_k of 1 is greedy";
  EXPECT_EQ(SampleToken(logits, {.top_p = 1e-6f}), 41) << "so is a tiny top_p";
}

TEST(SamplerTest, MarginIsThatOfTheLogitsWhichWereChosenFrom) {
  const std::vector<float> logits = {1.0f, 4.0f, 3.5f, -kInfinity};
  Sampler sampler(4);
  SamplingParams params{.temperature = 0};
  EXPECT_EQ(sampler.Sample(logits, SamplingState(params, {}), 0)->margin, 0.5f);
  params.logit_bias = {{2, 2.0f}};
  const auto sampled = sampler.Sample(logits, SamplingState(params, {}), 0);
  EXPECT_EQ(sampled->token, 2);
  EXPECT_EQ(sampled->margin, 1.5f);
  EXPECT_EQ(
      sampler.Sample({-kInfinity, 1.0f, -kInfinity, -kInfinity}, SamplingState({}, {}), 0)->margin,
      kInfinity);
}

TEST(SamplerTest, LogitBiasForcesAndForbids) {
  const std::vector<float> logits = {5.0f, 4.0f, 3.0f};
  EXPECT_EQ(SampleToken(logits, {.temperature = 0, .logit_bias = {{2, 100.0f}}}), 2);
  EXPECT_EQ(SampleToken(logits, {.temperature = 0, .logit_bias = {{0, -100.0f}}}), 1);
  for (int p = 0; p < 200; ++p) {
    EXPECT_EQ(SampleToken(logits, {.logit_bias = {{1, 100.0f}}}, p), 1);
  }
}

// Prompt is token 0 twice; output is 1, 1, 2. Margins show what each penalty subtracted.
TEST(SamplerTest, PenaltiesLookAtPromptAndOutputAsDocumented) {
  const std::vector<float> logits = {8.0f, 8.0f, 8.0f, -8.0f, 0.0f};
  const auto sample = [&](SamplingParams params, std::vector<TokenId> prompt,
                          std::vector<TokenId> output) {
    params.temperature = 0;
    SamplingState state(params, MakePromptTokens(prompt));
    for (const TokenId token : output) state.AddOutput(token);
    return Sampler(5).Sample(logits, state, 0).value();
  };
  SampledToken sampled = sample({.repetition_penalty = 2}, {0, 0}, {1});
  EXPECT_EQ(sampled.token, 2);
  EXPECT_EQ(sampled.margin, 4.0f) << "8 / 2 for prompt and output alike, however often";
  sampled = sample({.repetition_penalty = 2}, {0, 1}, {1, 1});
  EXPECT_EQ(sampled.token, 2);
  EXPECT_EQ(sampled.margin, 4.0f) << "once for what is in both";
  sampled = sample({.presence_penalty = 1.5f}, {0}, {1, 1, 2});
  EXPECT_EQ(sampled.token, 0) << "the prompt is not penalized";
  EXPECT_EQ(sampled.margin, 1.5f) << "once, however often";
  sampled = sample({.frequency_penalty = 1.5f}, {2}, {0, 1, 1, 2, 2, 2});
  EXPECT_EQ(sampled.token, 0);
  EXPECT_EQ(sampled.margin, 1.5f) << "6.5 before 5 and 3.5";
  sampled = sample({.frequency_penalty = -1.5f}, {}, {1, 1, 2});
  EXPECT_EQ(sampled.token, 1);
  EXPECT_EQ(sampled.margin, 1.5f);
  sampled = sample({.repetition_penalty = 2, .logit_bias = {{1, 4.0f}}}, {0, 1, 2}, {});
  EXPECT_EQ(sampled.token, 1) << "the bias comes before the penalty";
  EXPECT_EQ(sampled.margin, 2.0f) << "(8 + 4) / 2 before 8 / 2";
}

TEST(SamplerTest, RepetitionPenaltyMultipliesNegativeLogits) {
  SamplingState state({.temperature = 0, .repetition_penalty = 2}, MakePromptTokens({0}));
  EXPECT_EQ(Sampler(2).Sample({-1.0f, -1.5f}, state, 0)->token, 1) << "-2 is below -1.5";
}

TEST(SamplerTest, PenaltiesOfExtremeSizeStayFinite) {
  const float kTiny = std::numeric_limits<float>::min();
  SamplingState state({.repetition_penalty = kTiny}, MakePromptTokens({0, 1}));
  const auto sampled = Sampler(3).Sample({30.0f, 20.0f, -30.0f}, state, 0);
  ASSERT_OK(sampled);
  EXPECT_LT(sampled->token, 2);
}

TEST(SamplerTest, LogprobsAreOfTheRawLogits) {
  const std::vector<float> logits = RandomLogits(2000, 8, 2.0f);
  double total = 0.0;
  for (const float x : logits) total += std::exp(double{x});
  const SamplingParams params{.temperature = 0.3f,
                              .top_k = 3,
                              .logit_bias = {{17, 50.0f}},
                              .logprobs = true,
                              .top_logprobs = 20};
  const SampledToken sampled = *Sampler(2000).Sample(logits, SamplingState(params, {}), 0);
  EXPECT_EQ(sampled.token, 17);
  EXPECT_NEAR(*sampled.logprob, logits[17] - std::log(total), 1e-5);
  std::vector<float> sorted = logits;
  std::sort(sorted.rbegin(), sorted.rend());
  ASSERT_EQ(sampled.top.size(), 20u);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(logits[sampled.top[i].token], sorted[i]);
    EXPECT_NEAR(sampled.top[i].logprob, sorted[i] - std::log(total), 1e-5);
  }
}

TEST(SamplerTest, TopLogprobsOfEqualLogitsListSmallerIdsFirst) {
  const SamplingParams params{.temperature = 0, .logprobs = true, .top_logprobs = 3};
  const SampledToken sampled =
      *Sampler(500).Sample(std::vector<float>(500, 1.0f), SamplingState(params, {}), 0);
  ASSERT_EQ(sampled.top.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(sampled.top[i].token, i);
  EXPECT_FALSE(Sampler(1).Sample({1.0f}, SamplingState({}, {}), 0)->logprob.has_value());
}

TEST(SamplerTest, ForbiddenTokensAreNeverDrawn) {
  std::vector<float> logits(1500, -kInfinity);
  logits[700] = -3.0f;
  logits[701] = -4.0f;
  for (const SamplingParams& base :
       {SamplingParams{.temperature = 100}, SamplingParams{.temperature = 100, .top_p = 0.999f},
        SamplingParams{.temperature = 100, .top_k = 50}, SamplingParams{.min_p = 0.001f}}) {
    for (int p = 0; p < 100; ++p) {
      const TokenId token = SampleToken(logits, base, p);
      EXPECT_TRUE(token == 700 || token == 701) << token;
    }
  }
}

TEST(SamplerTest, BadLogitsAreAnErrorThatNamesTokenAndPosition) {
  Sampler sampler(3);
  const SamplingState state({}, {});
  constexpr auto kInternal = absl::StatusCode::kInternal;
  EXPECT_THAT(sampler.Sample({0.0f, std::nanf(""), 0.0f}, state, 12),
              StatusIs(kInternal, AllOf(HasSubstr("position 12"), HasSubstr("token 1 has nan"))));
  EXPECT_THAT(sampler.Sample({0.0f, 0.0f, kInfinity}, state, 0),
              StatusIs(kInternal, HasSubstr("token 2 has inf")));
  EXPECT_THAT(sampler.Sample({-kInfinity, -kInfinity, -kInfinity}, state, 0),
              StatusIs(kInternal, HasSubstr("none of 3 is finite")));
  EXPECT_THAT(sampler.Sample({0.0f, 0.0f}, state, 0),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("got 2 logits")));
  const SamplingState alien({.repetition_penalty = 2}, MakePromptTokens({3}));
  EXPECT_THAT(sampler.Sample({0.0f, 0.0f, 0.0f}, alien, 0),
              StatusIs(kInternal, HasSubstr("token 3")));
}

}  // namespace
}  // namespace skv::engine
