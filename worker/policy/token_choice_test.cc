#include "worker/policy/token_choice.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "worker/policy/key_sketches.h"
#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {
namespace {

using Ranges = std::vector<PositionRange>;

constexpr int kHeadDim = 32, kTokens = 100;

// Two heads a group; token t has a key of size[t] along channel 0.
TestSequence SequenceOf(const std::vector<float>& size) {
  TestSequence sequence = {{1, 1, 2, kHeadDim, kTokens}, kTokens, {}, {}, {}};
  sequence.keys.resize(kTokens * kHeadDim, 0.0f);
  for (int t = 0; t < kTokens; ++t) sequence.keys[t * kHeadDim] = size[t];
  return sequence;
}

Ranges Choose(const TestSequence& sequence, const std::vector<float>& query, const Ranges& found,
              int num_first, int num_last, int budget, float least = 0) {
  const FakeKv kv(&sequence, 0, 0, kTokens);
  Ranges attended;
  ChooseTokens(
      kv, sequence.shape, query.data(), found,
      {.num_first = num_first, .num_last = num_last, .most = budget, .least_of_mean = least},
      /*sketches=*/{}, &attended);
  return attended;
}

std::vector<float> QueryAlong(int channel) {
  std::vector<float> query(2 * kHeadDim, 0.0f);
  query[channel] = query[kHeadDim + channel] = 4.0f;
  return query;
}

TEST(TokenChoiceTest, TheTokensWithTheLargestKeysAreAttended) {
  std::vector<float> size(kTokens, 0.0f);
  for (const int t : {3, 21, 22, 60, 95}) size[t] = 8.0f;
  const Ranges found = {{0, 5}, {20, 30}, {50, 70}, {90, 100}};
  // 3 and 95 are attended anyway, as the first and the last are.
  EXPECT_EQ(Choose(SequenceOf(size), QueryAlong(0), found, 5, 10, 3),
            (Ranges{{0, 5}, {21, 23}, {60, 61}, {90, 100}}));
}

TEST(TokenChoiceTest, SketchesRankWhatIsNeitherFirstNorLast) {
  std::vector<float> size(kTokens, 0.0f), sketched(kTokens, 0.0f);
  for (const int t : {24, 55}) size[t] = 8.0f;
  for (const int t : {1, 21, 22, 60, 95}) sketched[t] = 8.0f;
  const TestSequence sequence = SequenceOf(size), other = SequenceOf(sketched);
  const FakeKv kv(&sequence, 0, 0, kTokens);
  const Ranges found = {{0, 5}, {20, 30}, {50, 70}, {90, 100}};
  KeySketches sketches(kHeadDim, /*first=*/0);
  sketches.Add(other.keys.data(), kTokens);
  std::vector<kernels::SketchRun> rest;
  for (const PositionRange range : {found[1], found[2]}) sketches.AppendRun(range, &rest);
  Ranges attended;
  ChooseTokens(kv, sequence.shape, QueryAlong(0).data(), found,
               {.num_first = 5, .num_last = 10, .most = 3}, rest, &attended);
  EXPECT_EQ(attended, (Ranges{{0, 5}, {21, 23}, {60, 61}, {90, 100}}));
  EXPECT_EQ(kv.sketch_bytes(), 30 * static_cast<int64_t>(kernels::KeySketchBytes(kHeadDim)));
}

TEST(TokenChoiceTest, FirstAndLastTakePartInTheMeanByTheirKeys) {
  std::vector<float> size(kTokens, 0.0f);
  for (const int t : {21, 60}) size[t] = 0.5f;
  for (const int t : {2, 95}) {
    for (const bool drawn : {false, true}) {
      size[t] = drawn ? 4.0f : 0.0f;
      const TestSequence sequence = SequenceOf(size);
      const FakeKv kv(&sequence, 0, 0, kTokens);
      const Ranges found = {{0, 5}, {20, 30}, {50, 70}, {90, 100}};
      KeySketches sketches(kHeadDim, /*first=*/0);
      sketches.Add(sequence.keys.data(), kTokens);
      std::vector<kernels::SketchRun> rest;
      for (const PositionRange range : {found[1], found[2]}) sketches.AppendRun(range, &rest);
      Ranges attended;
      ChooseTokens(kv, sequence.shape, QueryAlong(0).data(), found,
                   {.num_first = 5, .num_last = 10, .most = 5, .least_of_mean = 1.3f}, rest,
                   &attended);
      // What one end draws is lost to the others.
      EXPECT_EQ(attended, drawn ? (Ranges{{0, 5}, {90, 100}})
                                : (Ranges{{0, 5}, {21, 22}, {60, 61}, {90, 100}}));
    }
    size[t] = 0.0f;
  }
}

TEST(TokenChoiceTest, OfEqualTokensTheEarlierAreAttended) {
  const Ranges found = {{0, 5}, {20, 30}, {50, 70}, {90, 100}};
  EXPECT_EQ(Choose(SequenceOf(std::vector<float>(kTokens, 1.0f)), QueryAlong(1), found, 5, 10, 12),
            (Ranges{{0, 5}, {20, 30}, {50, 52}, {90, 100}}));
  EXPECT_EQ(Choose(SequenceOf(std::vector<float>(kTokens, 1.0f)), QueryAlong(1), found, 0, 0, 12),
            (Ranges{{0, 5}, {20, 27}}));
}

TEST(TokenChoiceTest, ABudgetForAllTakesAllAndNoneTakesTheEnds) {
  const TestSequence sequence = SequenceOf(std::vector<float>(kTokens, 1.0f));
  const Ranges found = {{0, 5}, {20, 30}, {90, 100}};
  EXPECT_EQ(Choose(sequence, QueryAlong(0), found, 5, 10, 10), found);
  EXPECT_EQ(Choose(sequence, QueryAlong(0), found, 5, 10, 99), found);
  EXPECT_EQ(Choose(sequence, QueryAlong(0), found, 5, 10, 0), (Ranges{{0, 5}, {90, 100}}));
}

// One head wants token 40 alone, the other spreads: their sum is what counts.
TEST(TokenChoiceTest, WhatAllHeadsGiveTogetherCounts) {
  TestSequence sequence = SequenceOf(std::vector<float>(kTokens, 0.0f));
  sequence.keys[40 * kHeadDim + 5] = 40.0f;
  sequence.keys[41 * kHeadDim + 6] = sequence.keys[42 * kHeadDim + 6] = 40.0f;
  std::vector<float> query(2 * kHeadDim, 0.0f);
  query[5] = query[kHeadDim + 6] = 4.0f;
  EXPECT_EQ(Choose(sequence, query, {{0, kTokens}}, 0, 1, 1), (Ranges{{40, 41}, {99, 100}}));
  EXPECT_EQ(Choose(sequence, query, {{0, kTokens}}, 0, 1, 3), (Ranges{{40, 43}, {99, 100}}));
}

TEST(TokenChoiceTest, WhatGetsLittleIsLeftOutWhateverRoomThereIs) {
  std::vector<float> size(kTokens, 0.0f);
  size[21] = size[22] = 4.0f;  // e^(16 / sqrt(32)) is 17 times what the others get
  size[60] = 0.5f;             // 1.4 times
  const Ranges found = {{0, 5}, {20, 30}, {50, 70}, {90, 100}};
  const auto choose = [&](int budget, float least) {
    return Choose(SequenceOf(size), QueryAlong(0), found, 5, 10, budget, least);
  };
  EXPECT_EQ(choose(20, 1.0f), (Ranges{{0, 5}, {21, 23}, {90, 100}}));
  EXPECT_EQ(choose(20, 0.8f), (Ranges{{0, 5}, {21, 23}, {60, 61}, {90, 100}}));
  EXPECT_EQ(choose(2, 0.8f), (Ranges{{0, 5}, {21, 23}, {90, 100}}));
  EXPECT_EQ(choose(20, 100.0f), (Ranges{{0, 5}, {90, 100}}));
  EXPECT_EQ(choose(30, 100.0f), found);  // all of it fits
}

// Shares are of all attention: what is attended anyway counts too.
TEST(TokenChoiceTest, WhatIsLeftOutGetsLessThanItsShare) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.0f, 4.0f);
  std::vector<float> size(kTokens);
  for (float& x : size) x = normal(random);
  const TestSequence sequence = SequenceOf(size);
  const Ranges attended = Choose(sequence, QueryAlong(0), {{0, kTokens}}, 5, 5, 80, 0.2f);
  double kept = 0, all = 0;
  int count = 0;
  for (int t = 0; t < kTokens; ++t) all += std::exp(size[t] * 4.0 / std::sqrt(32.0));
  for (const PositionRange& range : attended) {
    for (int t = range.begin; t < range.end; ++t, ++count) {
      kept += std::exp(size[t] * 4.0 / std::sqrt(32.0));
    }
  }
  EXPECT_LT(count, 70);
  EXPECT_GT(kept / all, 0.8);
}

}  // namespace
}  // namespace skv::policy
