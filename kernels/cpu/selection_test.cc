#include "kernels/selection.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "kernels/arithmetic.h"
#include "kernels/cpu/selection_kernels.h"

namespace skv::kernels {
namespace {

// Multiples of 2^-28 up to 4, the same with every standard library.
std::vector<float> RandomFloats(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(static_cast<int32_t>(random())) * 0x1p-29f;
  return values;
}

std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

std::vector<uint32_t> Pack(const std::vector<float>& vectors, int num_vectors, int width) {
  std::vector<uint32_t> index(IndexWords(num_vectors, width));
  for (int i = 0; i < num_vectors; ++i) {
    PackIndexVector(vectors.data() + i * width, width, i, index.data());
  }
  return index;
}

float RoundToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  bits += 0x7fff + (bits >> 16 & 1);
  bits &= 0xffff0000u;
  std::memcpy(&value, &bits, sizeof(bits));
  return value;
}

// The results of one instruction set, one after the other.
std::vector<float> RunAll(const SelectionKernels& kernels, int num_queries, int n, int width) {
  const std::vector<float> queries = RandomFloats(num_queries * width, 1);
  const std::vector<float> vectors = RandomFloats(n * width, 2), weights(n, 3.0f);
  const std::vector<uint32_t> index = Pack(vectors, n, width);
  std::vector<float> scores(num_queries * n), mass, mean(width), centre(width), half(width);
  kernels.score_vectors(queries.data(), width, num_queries, width, index.data(), n, scores.data(),
                        n);
  mass = scores;
  for (int r = 0; r < num_queries; ++r) {
    kernels.weighted_softmax(r % 2 ? weights.data() : nullptr, n, mass.data() + r * n);
  }
  kernels.mean_of_rows(vectors.data(), n, width, mean.data());
  kernels.cuboid_of_rows(vectors.data(), n, width, centre.data(), half.data());
  for (const auto& part : {mass, mean, centre, half}) {
    scores.insert(scores.end(), part.begin(), part.end());
  }
  return scores;
}

TEST(SelectionTest, EveryInstructionSetYieldsTheScalarBits) {
  for (const int num_queries : {1, 2, 3, 4, 7, 8}) {
    for (const int n : {1, 15, 16, 17, 32, 33, 100}) {
      for (const int width : {2, 32, 64, 96}) {
        const auto expected = Bits(RunAll(kSelectionScalar, num_queries, n, width));
        for (int level = 1; level <= static_cast<int>(BestIsa()); ++level) {
          const Isa isa = static_cast<Isa>(level);
          EXPECT_EQ(Bits(RunAll(SelectionKernelsFor(isa), num_queries, n, width)), expected)
              << IsaName(isa) << ", " << num_queries << " queries, " << n << " vectors of "
              << width;
        }
      }
    }
  }
}

TEST(SelectionTest, ScoresAreDotProductsWithTheRoundedVectors) {
  constexpr int kQueries = 5, kVectors = 37, kWidth = 64, kStride = 40;
  const std::vector<float> queries = RandomFloats(kQueries * kWidth, 3);
  const std::vector<float> vectors = RandomFloats(kVectors * kWidth, 4);
  const std::vector<uint32_t> index = Pack(vectors, kVectors, kWidth);
  std::vector<float> scores(kQueries * kStride, -1.0f);
  ScoreVectors(queries.data(), kWidth, kQueries, kWidth, index.data(), kVectors, scores.data(),
               kStride);
  for (int r = 0; r < kQueries; ++r) {
    for (int i = 0; i < kVectors; ++i) {
      double dot = 0, size = 0;
      for (int c = 0; c < kWidth; ++c) {
        const double product =
            double{queries[r * kWidth + c]} * RoundToBf16(vectors[i * kWidth + c]);
        dot += product;
        size += std::fabs(product);
      }
      EXPECT_NEAR(scores[r * kStride + i], dot, 1e-6 * size) << r << ", " << i;
    }
    for (int i = kVectors; i < kStride; ++i) EXPECT_EQ(scores[r * kStride + i], -1.0f);
  }
}

TEST(SelectionTest, AScoreDoesNotDependOnItsPlace) {
  constexpr int kVectors = 50, kWidth = 32;
  const std::vector<float> query = RandomFloats(kWidth, 5), vector = RandomFloats(kWidth, 6);
  std::vector<float> vectors = RandomFloats(kVectors * kWidth, 7);
  float alone;
  ScoreVectors(query.data(), kWidth, 1, kWidth, Pack(vector, 1, kWidth).data(), 1, &alone, 1);
  for (int place = 0; place < kVectors; ++place) {
    std::vector<float> with = vectors, scores(kVectors);
    std::copy(vector.begin(), vector.end(), with.begin() + place * kWidth);
    ScoreVectors(query.data(), kWidth, 1, kWidth, Pack(with, kVectors, kWidth).data(), kVectors,
                 scores.data(), kVectors);
    EXPECT_EQ(scores[place], alone) << place;
  }
}

// Of one instruction set: the mass that a group gives each of n rows.
std::vector<float> RunGroupSum(const SelectionKernels& kernels, int group_size, int n) {
  std::vector<float> scores = RandomFloats(group_size * n, 10), mass(n);
  kernels.group_sum(n, group_size, scores.data(), n, mass.data());
  return mass;
}

TEST(SelectionTest, EveryInstructionSetYieldsTheScalarMass) {
  for (const int group_size : {1, 3, 8}) {
    for (const int n : {1, 16, 33}) {
      const auto expected = Bits(RunGroupSum(kSelectionScalar, group_size, n));
      for (int level = 1; level <= static_cast<int>(BestIsa()); ++level) {
        const Isa isa = static_cast<Isa>(level);
        EXPECT_EQ(Bits(RunGroupSum(SelectionKernelsFor(isa), group_size, n)), expected)
            << IsaName(isa) << ", " << group_size << " queries, " << n << " rows";
      }
    }
  }
}

TEST(SelectionTest, GroupSumIsWhatAllHeadsGive) {
  std::vector<float> scores = {30.0f, 20.0f, 10.0f, 0.0f, 0.0f, 3.0f};
  std::vector<float> mass(3);
  GroupSum(3, 2, scores.data(), 3, mass.data());
  EXPECT_NEAR(mass[0], 1 + 1 / (2 + std::exp(3.0)), 1e-4);
  EXPECT_NEAR(mass[1], 1 / (2 + std::exp(3.0)), 1e-4);
  EXPECT_NEAR(mass[2], std::exp(3.0) / (2 + std::exp(3.0)), 1e-4);
}

TEST(SelectionTest, SoftmaxIsThatOfAsManyEqualEntriesAsTheWeightSays) {
  for (const int n : {1, 5, 16, 70}) {
    std::vector<float> scores = RandomFloats(n, 8), weights(n);
    for (int i = 0; i < n; ++i) weights[i] = static_cast<float>(i * 7 % 5 + (i == 0));
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += weights[i] * std::exp(double{scores[i]});
    const std::vector<float> before = scores;
    WeightedSoftmax(weights.data(), n, scores.data());
    for (int i = 0; i < n; ++i) {
      const double expected = std::exp(double{before[i]}) / sum;
      EXPECT_NEAR(scores[i], expected, 1e-6 * expected) << i << " of " << n;
    }
  }
}

TEST(SelectionTest, SoftmaxOfNegativeScoresIgnoresTheLanesBeyondTheEnd) {
  std::vector<float> scores = {-200.0f, -200.0f, -400.0f};
  WeightedSoftmax(nullptr, 3, scores.data());
  EXPECT_EQ(scores, (std::vector<float>{0.5f, 0.5f, 0.0f}));
}

TEST(SelectionTest, GroupMassTakesTheHeadThatWantsAnEntryMost) {
  // Head 0 has large scores and wants entry 0; head 1 has small ones and wants entry 2.
  std::vector<float> scores = {30.0f, 20.0f, 10.0f, 0.0f, 0.0f, 3.0f};
  std::vector<float> keys(3);
  GroupMass(nullptr, 3, 2, scores.data(), 3, keys.data());
  EXPECT_NEAR(keys[0], 1.0, 1e-4);
  EXPECT_NEAR(keys[1], 1 / (2 + std::exp(3.0)), 1e-6);
  EXPECT_NEAR(keys[2], std::exp(3.0) / (2 + std::exp(3.0)), 1e-6);
}

TEST(SelectionTest, EveryInstructionSetYieldsTheScalarKeysAndCut) {
  for (const int n : {1, 16, 17, 100}) {
    for (const int group_size : {1, 3}) {
      const std::vector<float> scores = RandomFloats(group_size * n, 9);
      std::vector<float> weights(n), expected(n);
      for (int i = 0; i < n; ++i) weights[i] = static_cast<float>(1 + i * 7 % 5);
      std::vector<float> rows = scores;
      kSelectionScalar.group_mass(weights.data(), n, group_size, rows.data(), n, expected.data());
      for (int level = 1; level <= static_cast<int>(BestIsa()); ++level) {
        const SelectionKernels& kernels = SelectionKernelsFor(static_cast<Isa>(level));
        std::vector<float> keys(n);
        rows = scores;
        kernels.group_mass(weights.data(), n, group_size, rows.data(), n, keys.data());
        EXPECT_EQ(Bits(keys), Bits(expected)) << level << ", " << n << " entries";
        for (const float budget : {1.0f, 7.0f, 150.0f}) {
          const KeyCut a = kSelectionScalar.find_cut(keys.data(), weights.data(), n, budget);
          const KeyCut b = kernels.find_cut(keys.data(), weights.data(), n, budget);
          EXPECT_EQ(a.key, b.key) << level << ", " << n << " entries";
          EXPECT_EQ(a.weight_above, b.weight_above) << level << ", " << n << " entries";
          std::vector<int32_t> numbers(n), same(n);
          numbers.resize(kSelectionScalar.entries_from(keys.data(), n, a.key, numbers.data()));
          same.resize(kernels.entries_from(keys.data(), n, a.key, same.data()));
          EXPECT_EQ(numbers, same) << level << ", " << n << " entries";
        }
      }
    }
  }
}

TEST(SelectionTest, TheCutIsTheKeyInWhichTheBudgetEnds) {
  const std::vector<float> keys = {0.5f, 0.0f, 3e38f, 0.5f, 1e-9f};
  const std::vector<float> weights = {2, 1, 3, 4, 5};
  const auto cut = [&](float budget) { return FindCut(keys.data(), weights.data(), 5, budget); };
  const auto expect = [](KeyCut found, float key, float weight_above) {
    EXPECT_EQ(found.key, key);
    EXPECT_EQ(found.weight_above, weight_above);
  };
  expect(cut(1), 3e38f, 0);
  expect(cut(3), 3e38f, 0);
  expect(cut(4), 0.5f, 3);
  expect(cut(9), 0.5f, 3);
  expect(cut(10), 1e-9f, 9);
  expect(cut(15), 0.0f, 14);
  expect(cut(99), 0.0f, 14);  // more than there is
}

// Goes through the keys in order, largest first.
KeyCut CutByDefinition(const std::vector<float>& keys, const std::vector<float>& weights,
                       float budget) {
  std::map<float, float, std::greater<float>> weight_of_key;
  for (size_t i = 0; i < keys.size(); ++i) weight_of_key[keys[i]] += weights[i];
  KeyCut cut = {0, 0};
  for (const auto& [key, weight] : weight_of_key) {
    if (key == 0 || cut.weight_above + weight >= budget) return {key, cut.weight_above};
    cut.weight_above += weight;
  }
  return cut;
}

TEST(SelectionTest, TheCutOfManyKeysIsThatOfTheirOrder) {
  std::mt19937 random(1);
  for (const int n : {1, 15, 256, 257, 700, 3000}) {
    for (const int distinct : {2, 40, 1 << 20}) {  // many ties, few, none
      std::vector<float> keys(n), weights(n), ones(n, 1.0f);
      for (int i = 0; i < n; ++i) {
        keys[i] = std::exp2(-40.0f * (random() % distinct) / distinct) * (random() % 8 != 0);
        weights[i] = 1.0f + random() % 30;
      }
      for (int budget = 1; budget <= 2 * n; budget += 1 + n / 7) {
        for (const bool weighted : {false, true}) {
          const KeyCut got = FindCut(keys.data(), weighted ? weights.data() : nullptr, n, budget);
          const KeyCut expected = CutByDefinition(keys, weighted ? weights : ones, budget);
          ASSERT_EQ(got.key, expected.key) << n << ", " << distinct << ", budget " << budget;
          ASSERT_EQ(got.weight_above, expected.weight_above);
        }
      }
    }
  }
}

TEST(SelectionTest, ACutTakesANanForTheLargestKey) {
  const std::vector<float> keys = {std::nanf(""), 2.0f, -std::nanf(""), 1.0f}, weights(4, 1.0f);
  EXPECT_EQ(FindCut(keys.data(), weights.data(), 4, 2).key, std::numeric_limits<float>::max());
  EXPECT_EQ(FindCut(keys.data(), weights.data(), 4, 3).key, 2.0f);
}

TEST(SelectionTest, EntriesFromACutAreThoseOfItsKeyAndLargerOnes) {
  std::vector<float> keys(35, 0.25f);
  keys[3] = 0.5f;
  keys[17] = std::nanf("");
  keys[34] = 0.75f;
  std::vector<int32_t> numbers(35);
  numbers.resize(EntriesFrom(keys.data(), 35, 0.5f, numbers.data()));
  EXPECT_EQ(numbers, (std::vector<int32_t>{3, 17, 34}));
  numbers.resize(35);
  EXPECT_EQ(EntriesFrom(keys.data(), 35, 0.0f, numbers.data()), 35);
}

TEST(SelectionTest, DigestsOfRows) {
  const std::vector<float> rows = {1, 10, 2, 10, 6, 10};  // three rows of two channels
  float mean[2], centre[2], half[2];
  MeanOfRows(rows.data(), 3, 2, mean);
  CuboidOfRows(rows.data(), 3, 2, centre, half);
  EXPECT_EQ(mean[0], 3.0f);
  EXPECT_EQ(mean[1], 10.0f);
  EXPECT_EQ(centre[0], 3.5f);
  EXPECT_EQ(centre[1], 10.0f);
  EXPECT_NEAR(half[0], (2.5 + 1.5 + 2.5) / 3, 1e-6);
  EXPECT_EQ(half[1], 0.0f);
}

// A change here is a change of arithmetic: raise kArithmeticRevision and say why in the commit.
TEST(SelectionGoldenTest, BitsAreThoseOfTheArithmeticRevision) {
  ASSERT_EQ(kArithmeticRevision, 3) << "new revision: put the new hash here";
  const std::vector<float> all = RunAll(SelectionKernelsFor(ActiveIsa()), 3, 100, 64);
  EXPECT_EQ(XXH64(all.data(), all.size() * sizeof(float), 0), 0x59b568bb79109203u)
      << IsaName(ActiveIsa());
  const std::vector<float> mass = RunGroupSum(SelectionKernelsFor(ActiveIsa()), 3, 100);
  EXPECT_EQ(XXH64(mass.data(), mass.size() * sizeof(float), 0), 18139490000745088697u)
      << IsaName(ActiveIsa());
}

}  // namespace
}  // namespace skv::kernels
