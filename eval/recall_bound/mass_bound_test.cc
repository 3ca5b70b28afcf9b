#include "eval/recall_bound/mass_bound.h"

#include <cmath>
#include <random>

#include "gtest/gtest.h"

namespace skv::eval {
namespace {

constexpr int kWidth = 16;

std::vector<float> Random(int count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

double Score(const float* query, const float* key) {
  double dot = 0;
  for (int c = 0; c < kWidth; ++c) dot += double{query[c]} * key[c];
  return dot / std::sqrt(kWidth);
}

TEST(MassBoundTest, NoKeyScoresMoreThanTheBounds) {
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    const int num_keys = 1 + static_cast<int>(random() % 20);
    const auto keys = Random(num_keys * kWidth, random), query = Random(kWidth, random);
    const KeyDigest digest = DigestOf(keys.data(), num_keys, kWidth);
    for (int k = 0; k < num_keys; ++k) {
      const double score = Score(query.data(), keys.data() + k * kWidth);
      EXPECT_LE(score, BoxBound(digest, query.data()) + 1e-5);
      EXPECT_LE(score, BallBound(digest, query.data()) + 1e-5);
    }
  }
}

TEST(MassBoundTest, OneKeyIsBoundByItself) {
  std::mt19937 random(2);
  const auto key = Random(kWidth, random), query = Random(kWidth, random);
  const KeyDigest digest = DigestOf(key.data(), 1, kWidth);
  EXPECT_NEAR(BoxBound(digest, query.data()), Score(query.data(), key.data()), 1e-5);
  EXPECT_NEAR(BallBound(digest, query.data()), Score(query.data(), key.data()), 1e-5);
}

}  // namespace
}  // namespace skv::eval
