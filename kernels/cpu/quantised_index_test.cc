#include "kernels/quantised_index.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace skv::kernels {
namespace {

std::vector<float> RandomFloats(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(static_cast<int32_t>(random())) * 0x1p-29f;
  return values;
}

std::vector<std::byte> Pack(const std::vector<float>& vectors, int num_vectors, int width) {
  std::vector<std::byte> index(QuantisedIndexBytes(num_vectors, width));
  for (int i = 0; i < num_vectors; ++i) {
    PackQuantisedVector(vectors.data() + i * width, width, i, index.data());
  }
  return index;
}

std::vector<float> Score(const std::vector<float>& queries, int num_queries, int width,
                         const std::vector<std::byte>& index, int num_vectors, int stride) {
  std::vector<std::byte> packed(QuantisedQueryBytes(num_queries, width));
  PackQuantisedQueries(queries.data(), num_queries, width, packed.data());
  std::vector<float> scores(num_queries * stride, -1.0f);
  ScoreQuantised(packed.data(), num_queries, width, index.data(), num_vectors, scores.data(),
                 stride);
  return scores;
}

TEST(QuantisedIndexTest, ScoresAreDotProductsButForTheRoundingOfVectors) {
  constexpr int kQueries = 3, kVectors = 37, kStride = 40;
  for (const int width : {32, 128, 192}) {
    const std::vector<float> queries = RandomFloats(kQueries * width, 1);
    const std::vector<float> vectors = RandomFloats(kVectors * width, 2);
    const std::vector<float> scores =
        Score(queries, kQueries, width, Pack(vectors, kVectors, width), kVectors, kStride);
    for (int r = 0; r < kQueries; ++r) {
      for (int i = 0; i < kVectors; ++i) {
        double dot = 0, size = 0;
        for (int c = 0; c < width; ++c) {
          dot += double{queries[r * width + c]} * vectors[i * width + c];
          size += std::fabs(queries[r * width + c]);
        }
        // A channel is off by half a step of 8 / 15 at most.
        EXPECT_NEAR(scores[r * kStride + i], dot, size * 4.02 / 15) << r << ", " << i;
        EXPECT_NE(scores[r * kStride + i], 0.0f);
      }
      for (int i = kVectors; i < kStride; ++i) EXPECT_EQ(scores[r * kStride + i], -1.0f);
    }
  }
}

TEST(QuantisedIndexTest, MultiplesOfAStepScoreExactly) {
  constexpr int kWidth = 64, kVectors = 20;
  std::vector<float> vectors(kVectors * kWidth), query(kWidth);
  for (size_t i = 0; i < vectors.size(); ++i) vectors[i] = static_cast<float>(i * 7 % 16) - 5;
  for (int c = 0; c < kWidth; ++c) query[c] = c % 32 == 5 ? 32512 : static_cast<float>(c) - 31;
  const std::vector<float> scores =
      Score(query, 1, kWidth, Pack(vectors, kVectors, kWidth), kVectors, kVectors);
  for (int i = 0; i < kVectors; ++i) {
    double dot = 0;
    for (int c = 0; c < kWidth; ++c) dot += double{query[c]} * vectors[i * kWidth + c];
    EXPECT_EQ(scores[i], dot) << i;
  }
}

TEST(QuantisedIndexTest, AScoreDoesNotDependOnItsPlaceOrCompany) {
  constexpr int kVectors = 50, kWidth = 64;
  const std::vector<float> queries = RandomFloats(3 * kWidth, 3), vector = RandomFloats(kWidth, 4);
  const std::vector<float> query(queries.begin(), queries.begin() + kWidth);
  const float alone = Score(query, 1, kWidth, Pack(vector, 1, kWidth), 1, 1)[0];
  std::vector<float> vectors = RandomFloats(kVectors * kWidth, 5);
  for (int place = 0; place < kVectors; ++place) {
    std::vector<float> with = vectors;
    std::copy(vector.begin(), vector.end(), with.begin() + place * kWidth);
    const std::vector<float> scores =
        Score(queries, 3, kWidth, Pack(with, kVectors, kWidth), kVectors, kVectors);
    EXPECT_EQ(scores[place], alone) << place;
  }
}

TEST(QuantisedIndexTest, VectorsMayBePutInAnyOrder) {
  constexpr int kVectors = 40, kWidth = 32;
  const std::vector<float> vectors = RandomFloats(kVectors * kWidth, 6);
  std::vector<std::byte> index(QuantisedIndexBytes(kVectors, kWidth));
  for (int i = kVectors - 1; i >= 0; --i) {
    PackQuantisedVector(vectors.data() + i * kWidth, kWidth, i, index.data());
  }
  EXPECT_EQ(index, Pack(vectors, kVectors, kWidth));
}

}  // namespace
}  // namespace skv::kernels
