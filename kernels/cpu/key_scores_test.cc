#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/arithmetic.h"
#include "kernels/attention.h"
#include "kernels/cpu/attention_paths.h"

namespace skv::kernels {
namespace {

std::vector<float> RandomFloats(int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

struct Keys {
  Keys(int num_keys, int head_dim, int run_rows) : rows(int64_t{num_keys} * head_dim) {
    ConvertToBf16(RandomFloats(int64_t{num_keys} * head_dim, 1).data(),
                  int64_t{num_keys} * head_dim, rows.data());
    for (int i = 0; i < num_keys; i += run_rows) {
      const Bf16* const row = rows.data() + int64_t{i} * head_dim;
      runs.push_back({row, row, std::min(run_rows, num_keys - i)});
    }
  }
  std::vector<Bf16> rows;
  std::vector<KvRun> runs;
};

std::vector<float> Score(Isa isa, int num_queries, int head_dim, const Keys& keys) {
  const std::vector<float> queries = RandomFloats(int64_t{num_queries} * head_dim, 2);
  const int64_t n = static_cast<int64_t>(keys.rows.size()) / head_dim;
  std::vector<float> scores(num_queries * (n + 1), -1.0f);
  ScoreKeys(AttentionPathOf(isa), queries.data(), num_queries, head_dim, keys.runs.data(),
            static_cast<int>(keys.runs.size()), scores.data(), n + 1);
  return scores;
}

TEST(KeyScoresTest, AreDotProductsAndNothingElseIsWritten) {
  constexpr int kQueries = 5, kKeys = 135, kHeadDim = 96;
  const Keys keys(kKeys, kHeadDim, 7);
  const std::vector<float> queries = RandomFloats(kQueries * kHeadDim, 2);
  const std::vector<float> scores = Score(ActiveIsa(), kQueries, kHeadDim, keys);
  for (int r = 0; r < kQueries; ++r) {
    for (int i = 0; i < kKeys; ++i) {
      double dot = 0;
      for (int c = 0; c < kHeadDim; ++c) {
        float key;
        ConvertFromBf16(&keys.rows[i * kHeadDim + c], 1, &key);
        dot += double{queries[r * kHeadDim + c]} * key;
      }
      EXPECT_NEAR(scores[r * (kKeys + 1) + i], dot, 1e-4) << r << ", " << i;
    }
    EXPECT_EQ(scores[r * (kKeys + 1) + kKeys], -1.0f);
  }
}

TEST(KeyScoresTest, BitsAreTheScalarOnesHoweverKeysLie) {
  for (const int num_queries : {1, 3, 8}) {
    for (const int num_keys : {1, 4, 127, 128, 129, 300}) {
      for (const int head_dim : {32, 64, 256}) {
        const auto expected =
            Score(Isa::kScalar, num_queries, head_dim, Keys(num_keys, head_dim, num_keys));
        for (int level = 0; level <= static_cast<int>(BestIsa()); ++level) {
          const Isa isa = static_cast<Isa>(level);
          for (const int run_rows : {1, 3, 16, 1000}) {
            const auto scores =
                Score(isa, num_queries, head_dim, Keys(num_keys, head_dim, run_rows));
            EXPECT_EQ(std::memcmp(scores.data(), expected.data(), expected.size() * sizeof(float)),
                      0)
                << IsaName(isa) << ", " << num_queries << " queries, " << num_keys << " keys of "
                << head_dim << " in runs of " << run_rows;
          }
        }
      }
    }
  }
}

TEST(KeyScoresTest, OfNoKeysAreNone) {
  const float query[32] = {};
  float score = -1.0f;
  ScoreKeys(query, 1, 32, nullptr, 0, &score, 1);
  EXPECT_EQ(score, -1.0f);
}

// A change here is a change of arithmetic: raise kArithmeticRevision and say why in the commit.
TEST(KeyScoresGoldenTest, BitsAreThoseOfTheArithmeticRevision) {
  ASSERT_EQ(kArithmeticRevision, 3) << "new revision: put the new hash here";
  const std::vector<float> scores = Score(ActiveIsa(), 3, 64, Keys(300, 64, 16));
  EXPECT_EQ(XXH64(scores.data(), scores.size() * sizeof(float), 0), 11631364036319829453u)
      << IsaName(ActiveIsa());
}

}  // namespace
}  // namespace skv::kernels
