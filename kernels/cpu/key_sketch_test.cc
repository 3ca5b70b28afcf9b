#include "kernels/key_sketch.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/arithmetic.h"
#include "kernels/cpu/key_sketch_kernels.h"

namespace skv::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

// Multiples of 2^-29 up to 4, the same with every standard library.
std::vector<float> RandomFloats(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(static_cast<int32_t>(random())) * 0x1p-29f;
  return values;
}

// As keys are: every channel has its own mean, and some are far out.
std::vector<float> KeyLikeFloats(int num_keys, int head_dim, uint32_t seed) {
  std::vector<float> values = RandomFloats(size_t(num_keys) * head_dim, seed);
  for (size_t i = 0; i < values.size(); ++i) {
    const int c = static_cast<int>(i % head_dim);
    values[i] += static_cast<float>(c * 37 % 11 - 5) + (c % 29 == 3 ? 40.0f : 0.0f);
  }
  return values;
}

// Keys in runs of the lengths given, each in memory of its own that ends where its bytes do.
class Runs {
 public:
  Runs(const KeySketchKernels& kernels, const std::vector<float>& keys, int head_dim,
       const std::vector<int>& lengths) {
    const float* key = keys.data();
    for (const int length : lengths) {
      bytes_.emplace_back(length * KeySketchBytes(head_dim));
      MakeKeySketches(kernels, key, length, head_dim, bytes_.back().data());
      key += int64_t{length} * head_dim;
    }
    for (size_t i = 0; i < lengths.size(); ++i) runs_.push_back({bytes_[i].data(), lengths[i]});
  }

  std::vector<float> Score(const KeySketchKernels& kernels, const std::vector<float>& queries,
                           int head_dim) const {
    const int num_queries = static_cast<int>(queries.size()) / head_dim;
    std::vector<std::byte> packed(SketchQueryBytes(num_queries, head_dim));
    PackSketchQueries(kernels, queries.data(), num_queries, head_dim, packed.data());
    int64_t num_keys = 0;
    for (const SketchRun& run : runs_) num_keys += run.num_keys;
    std::vector<float> scores(num_queries * num_keys, -1.0f);
    ScoreSketches(kernels, packed.data(), num_queries, head_dim, runs_.data(),
                  static_cast<int>(runs_.size()), scores.data(), num_keys);
    return scores;
  }

  const std::vector<std::vector<std::byte>>& bytes() const { return bytes_; }

 private:
  std::vector<std::vector<std::byte>> bytes_;
  std::vector<SketchRun> runs_;
};

const KeySketchKernels& Active() { return KeySketchKernelsFor(ActiveIsa()); }

std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits(values.size());
  std::ranges::transform(values, bits.begin(), [](float x) { return std::bit_cast<uint32_t>(x); });
  return bits;
}

float ToBf16(float x) {
  int exponent;
  std::frexp(x, &exponent);
  return static_cast<float>(std::ldexp(std::nearbyint(std::ldexp(x, 8 - exponent)), exponent - 8));
}

struct Sketch {
  float step, minimum;
  std::vector<int> codes;
  double Channel(int c) const { return double{step} * codes[c] + minimum; }
};

Sketch SketchByDefinition(const float* key, int head_dim) {
  Sketch sketch;
  sketch.minimum = ToBf16(*std::min_element(key, key + head_dim));
  sketch.step = ToBf16((*std::max_element(key, key + head_dim) - sketch.minimum) / 15);
  if (!(sketch.step > 0)) sketch.step = 0;
  for (int c = 0; c < head_dim; ++c) {
    const float steps = sketch.step > 0 ? (key[c] - sketch.minimum) * (1 / sketch.step) : 0;
    sketch.codes.push_back(std::clamp(static_cast<int>(std::nearbyint(steps)), 0, 15));
  }
  return sketch;
}

float Bf16At(const std::byte* bytes) {
  uint32_t bits = 0;
  std::memcpy(reinterpret_cast<std::byte*>(&bits) + 2, bytes, 2);
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

Sketch Unpack(const std::byte* bytes, int head_dim) {
  Sketch sketch;
  for (int c = 0; c < head_dim; ++c) {
    const int pair = static_cast<int>(bytes[c / 64 * 32 + c % 32]);
    sketch.codes.push_back(c % 64 < 32 ? pair % 16 : pair / 16);
  }
  const std::byte* scales = bytes + KeySketchBytes(head_dim) - 4;
  sketch.step = Bf16At(scales);
  sketch.minimum = Bf16At(scales + 2);
  return sketch;
}

TEST(KeySketchTest, TakesHalfAByteAChannelOfWholeChunksAndFour) {
  EXPECT_EQ(KeySketchBytes(32), 36u);
  EXPECT_EQ(KeySketchBytes(64), 36u);
  EXPECT_EQ(KeySketchBytes(96), 68u);
  EXPECT_EQ(KeySketchBytes(128), 68u);
  EXPECT_EQ(KeySketchBytes(256), 132u);
}

TEST(KeySketchTest, HoldsTheCodesAndScalesOfItsDefinition) {
  constexpr int kKeys = 50;
  for (const int head_dim : {2, 32, 64, 96, 100, 128, 256, 512}) {
    const std::vector<float> keys = KeyLikeFloats(kKeys, head_dim, head_dim);
    std::vector<std::byte> bytes(kKeys * KeySketchBytes(head_dim), std::byte{0xee});
    MakeKeySketches(keys.data(), kKeys, head_dim, bytes.data());
    for (int i = 0; i < kKeys; ++i) {
      const std::byte* at = bytes.data() + i * KeySketchBytes(head_dim);
      const Sketch expected = SketchByDefinition(&keys[i * head_dim], head_dim);
      const Sketch got = Unpack(at, head_dim);
      EXPECT_EQ(got.step, expected.step) << i << " of " << head_dim;
      EXPECT_EQ(got.minimum, expected.minimum) << i << " of " << head_dim;
      EXPECT_EQ(got.codes, expected.codes) << i << " of " << head_dim;
      for (int c = head_dim; c % 64 != 0; ++c)
        EXPECT_EQ(at[c / 64 * 32 + c % 32] >> 4, std::byte{0});
    }
  }
}

TEST(KeySketchTest, AChannelIsOffByHalfAStepAndTheRoundingOfTheScales) {
  constexpr int kKeys = 200;
  for (const int head_dim : {32, 64, 128}) {
    const std::vector<float> keys = KeyLikeFloats(kKeys, head_dim, 3 * head_dim);
    std::vector<std::byte> bytes(kKeys * KeySketchBytes(head_dim));
    MakeKeySketches(keys.data(), kKeys, head_dim, bytes.data());
    for (int i = 0; i < kKeys; ++i) {
      const Sketch sketch = Unpack(bytes.data() + i * KeySketchBytes(head_dim), head_dim);
      const double bound = 0.54 * sketch.step + std::fabs(sketch.minimum) / 256;
      for (int c = 0; c < head_dim; ++c) {
        ASSERT_NEAR(sketch.Channel(c), keys[i * head_dim + c], bound) << i << ", channel " << c;
      }
    }
  }
}

TEST(KeySketchTest, AScoreIsTheProductOfWhatSketchAndQueryHold) {
  constexpr int kQueries = 5, kKeys = 150;
  for (const int head_dim : {32, 64, 96, 100, 256}) {
    const std::vector<float> keys = KeyLikeFloats(kKeys, head_dim, 1);
    const std::vector<float> queries = RandomFloats(kQueries * head_dim, 2);
    const Runs runs(Active(), keys, head_dim, {kKeys});
    const std::vector<float> scores = runs.Score(Active(), queries, head_dim);
    for (int r = 0; r < kQueries; ++r) {
      const float* query = &queries[r * head_dim];
      float amax = 0;
      for (int c = 0; c < head_dim; ++c) amax = std::max(amax, std::fabs(query[c]));
      for (int i = 0; i < kKeys; ++i) {
        const Sketch sketch = SketchByDefinition(&keys[i * head_dim], head_dim);
        double product = 0, exact = 0, bound = 0;
        for (int c = 0; c < head_dim; ++c) {
          const float key = keys[i * head_dim + c];
          product += std::nearbyint(query[c] * (127 / amax)) * sketch.Channel(c);
          exact += double{query[c]} * key;
          bound += std::fabs(query[c]) * std::fabs(sketch.Channel(c) - key) +
                   0.501 * amax / 127 * std::fabs(sketch.Channel(c));
        }
        product *= amax / 127;
        const float score = scores[r * kKeys + i];
        EXPECT_NEAR(score, product, 0x1p-23 * std::fabs(product)) << r << ", " << i;
        EXPECT_NEAR(score, exact, bound) << r << ", " << i;
      }
    }
  }
}

// Lengths of up to 40 with empty runs among them, `num_runs` in all.
std::vector<int> RandomLengths(int num_runs, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int> lengths(num_runs);
  for (int& length : lengths) length = static_cast<int>(random() % 41);
  return lengths;
}

TEST(KeySketchTest, EveryInstructionSetYieldsTheScalarBits) {
  uint32_t seed = 0;
  for (const int head_dim : {2, 32, 64, 96, 100, 128, 256, 512}) {
    for (const int num_queries : {1, 2, 3, 4, 5, 6, 7, 8, 11, 16}) {
      for (const int num_runs : {1, 2, 7, 30}) {
        const std::vector<int> lengths = RandomLengths(num_runs, ++seed);
        const int num_keys = std::accumulate(lengths.begin(), lengths.end(), 0);
        const std::vector<float> keys = KeyLikeFloats(num_keys, head_dim, ++seed);
        const std::vector<float> queries = RandomFloats(size_t(num_queries) * head_dim, ++seed);
        const Runs expected(kKeySketchScalar, keys, head_dim, lengths);
        const auto expected_scores = Bits(expected.Score(kKeySketchScalar, queries, head_dim));
        for (int level = 1; level <= static_cast<int>(BestIsa()); ++level) {
          const Isa isa = static_cast<Isa>(level);
          const Runs got(KeySketchKernelsFor(isa), keys, head_dim, lengths);
          EXPECT_EQ(got.bytes(), expected.bytes()) << IsaName(isa) << ", " << head_dim;
          EXPECT_EQ(Bits(got.Score(KeySketchKernelsFor(isa), queries, head_dim)), expected_scores)
              << IsaName(isa) << ", " << num_queries << " queries of " << head_dim << ", "
              << num_keys << " keys in " << num_runs << " runs";
        }
      }
    }
  }
}

TEST(KeySketchTest, TheLargestDotsDoNotOverflow) {
  constexpr int kHeadDim = 256, kKeys = 20;
  std::vector<float> keys(kKeys * kHeadDim, 15.0f), query(kHeadDim, -127.0f);
  double expected = 0;
  for (int i = 0; i < kKeys; ++i) keys[i * kHeadDim] = 0;  // so that codes are 15
  for (int c = 1; c < kHeadDim; ++c) expected += -127.0 * 15;
  for (int level = 0; level <= static_cast<int>(BestIsa()); ++level) {
    const KeySketchKernels& kernels = KeySketchKernelsFor(static_cast<Isa>(level));
    for (const float sign : {1.0f, -1.0f}) {
      for (float& channel : query) channel = -127.0f * sign;
      for (const float score :
           Runs(kernels, keys, kHeadDim, {kKeys}).Score(kernels, query, kHeadDim)) {
        EXPECT_EQ(score, sign * expected) << level;
      }
    }
  }
}

TEST(KeySketchTest, AScoreDependsNeitherOnNeighboursNorOnCuts) {
  constexpr int kKeys = 300, kHeadDim = 64, kQueries = 3;
  const std::vector<float> keys = KeyLikeFloats(kKeys, kHeadDim, 5);
  const std::vector<float> queries = RandomFloats(kQueries * kHeadDim, 6);
  std::vector<float> expected(kQueries * kKeys);
  for (int i = 0; i < kKeys; ++i) {
    const std::vector<float> key(&keys[i * kHeadDim], &keys[i * kHeadDim] + kHeadDim);
    for (int r = 0; r < kQueries; ++r) {
      const std::vector<float> query(&queries[r * kHeadDim], &queries[r * kHeadDim] + kHeadDim);
      expected[r * kKeys + i] =
          Runs(Active(), key, kHeadDim, {1}).Score(Active(), query, kHeadDim)[0];
    }
  }
  for (const int length : {1, 4, 15, 16, 17, 128, 150, 300}) {
    std::vector<int> lengths(kKeys / length, length);
    lengths.push_back(kKeys % length);
    EXPECT_EQ(Bits(Runs(Active(), keys, kHeadDim, lengths).Score(Active(), queries, kHeadDim)),
              Bits(expected))
        << length;
  }
}

TEST(KeySketchTest, ConstantKeysAndZerosScoreAsTheyShould) {
  constexpr int kHeadDim = 64;
  std::vector<float> keys;
  const std::vector<float> constants = {0.0f, -0.0f, 1.0f, -3.0f, 1.003f, 1.005f, -1.005f, 1e-39f};
  for (const float constant : constants) keys.insert(keys.end(), kHeadDim, constant);
  std::vector<float> queries = RandomFloats(2 * kHeadDim, 8);
  std::fill_n(queries.begin(), kHeadDim, 0.0f);
  const int num_keys = static_cast<int>(constants.size());
  const Runs runs(Active(), keys, kHeadDim, {num_keys});
  const std::vector<float> scores = runs.Score(Active(), queries, kHeadDim);
  for (int i = 0; i < num_keys; ++i) {
    EXPECT_EQ(scores[i], 0.0f) << constants[i];
    const float* query = &queries[kHeadDim];
    double exact = 0, size = 1e-36;  // denormals are flushed
    for (int c = 0; c < kHeadDim; ++c) {
      exact += double{query[c]} * constants[i];
      size += std::fabs(constants[i]) * (std::fabs(query[c]) / 256 + 4.0 / 127 / 2);
    }
    EXPECT_NEAR(scores[num_keys + i], exact, size) << constants[i];
  }
}

TEST(KeySketchTest, AKeyThatIsNotFiniteIsNanAndNoOtherIs) {
  constexpr int kHeadDim = 64, kKeys = 40;
  const std::vector<float> finite = KeyLikeFloats(kKeys, kHeadDim, 9);
  const std::vector<float> queries = RandomFloats(3 * kHeadDim, 10);
  std::vector<float> keys = finite;
  const std::vector<int> bad = {0, 7, 16, 17, 30, 39};
  keys[0 * kHeadDim + 5] = std::nanf("");
  keys[7 * kHeadDim] = -std::nanf("");
  keys[16 * kHeadDim + 63] = kInfinity;
  keys[17 * kHeadDim + 32] = -kInfinity;
  keys[30 * kHeadDim + 1] = kInfinity;
  keys[30 * kHeadDim + 2] = -kInfinity;
  keys[39 * kHeadDim + 1] = kLargest;
  keys[39 * kHeadDim + 2] = -kLargest;
  const auto expected =
      Runs(Active(), finite, kHeadDim, {kKeys}).Score(Active(), queries, kHeadDim);
  const auto scalar =
      Runs(kKeySketchScalar, keys, kHeadDim, {kKeys}).Score(kKeySketchScalar, queries, kHeadDim);
  for (int level = 0; level <= static_cast<int>(BestIsa()); ++level) {
    const KeySketchKernels& kernels = KeySketchKernelsFor(static_cast<Isa>(level));
    const auto scores = Runs(kernels, keys, kHeadDim, {kKeys}).Score(kernels, queries, kHeadDim);
    EXPECT_EQ(Bits(scores), Bits(scalar)) << level;
    for (size_t i = 0; i < scores.size(); ++i) {
      const int key = static_cast<int>(i % kKeys);
      if (std::find(bad.begin(), bad.end(), key) != bad.end()) {
        EXPECT_TRUE(std::isnan(scores[i])) << key;
      } else {
        EXPECT_EQ(scores[i], expected[i]) << key;
      }
    }
  }
}

TEST(KeySketchTest, AQueryThatIsNotFiniteMakesItsScoresNanAndNoOthers) {
  constexpr int kHeadDim = 96, kKeys = 21, kQueries = 5;
  const std::vector<float> keys = KeyLikeFloats(kKeys, kHeadDim, 11);
  std::vector<float> queries = RandomFloats(kQueries * kHeadDim, 12);
  const auto expected = Runs(Active(), keys, kHeadDim, {kKeys}).Score(Active(), queries, kHeadDim);
  queries[1 * kHeadDim + 95] = std::nanf("");
  queries[3 * kHeadDim] = -kInfinity;
  const auto scalar =
      Runs(kKeySketchScalar, keys, kHeadDim, {kKeys}).Score(kKeySketchScalar, queries, kHeadDim);
  for (int level = 0; level <= static_cast<int>(BestIsa()); ++level) {
    const KeySketchKernels& kernels = KeySketchKernelsFor(static_cast<Isa>(level));
    const auto scores = Runs(kernels, keys, kHeadDim, {kKeys}).Score(kernels, queries, kHeadDim);
    EXPECT_EQ(Bits(scores), Bits(scalar)) << level;
    for (int i = 0; i < kQueries * kKeys; ++i) {
      if (i / kKeys % 2 == 1) {
        EXPECT_TRUE(std::isnan(scores[i])) << i;
      } else {
        EXPECT_EQ(scores[i], expected[i]) << i;
      }
    }
  }
}

TEST(KeySketchTest, HugeAndTinyValuesYieldTheScalarBits) {
  constexpr int kHeadDim = 64, kKeys = 48;
  const std::vector<float> factors = {kLargest / 4, 1e38f, 1e30f, 1e-30f, 1e-37f, 1e-38f, 1e-45f};
  for (const float of_keys : factors) {
    for (const float of_queries : factors) {
      std::vector<float> keys = RandomFloats(kKeys * kHeadDim, 13);
      std::vector<float> queries = RandomFloats(3 * kHeadDim, 14);
      for (float& x : keys) x *= of_keys * 0.25f;
      for (float& x : queries) x *= of_queries * 0.25f;
      const Runs expected(kKeySketchScalar, keys, kHeadDim, {kKeys});
      for (int level = 1; level <= static_cast<int>(BestIsa()); ++level) {
        const KeySketchKernels& kernels = KeySketchKernelsFor(static_cast<Isa>(level));
        const Runs got(kernels, keys, kHeadDim, {kKeys});
        EXPECT_EQ(got.bytes(), expected.bytes()) << level << ", " << of_keys;
        EXPECT_EQ(Bits(got.Score(kernels, queries, kHeadDim)),
                  Bits(expected.Score(kKeySketchScalar, queries, kHeadDim)))
            << level << ", " << of_keys << ", " << of_queries;
      }
    }
  }
}

TEST(KeySketchTest, WritesItsScoresAlone) {
  constexpr int kHeadDim = 64, kKeys = 19, kQueries = 3, kStride = 24;
  const std::vector<float> keys = KeyLikeFloats(kKeys, kHeadDim, 15);
  const std::vector<float> queries = RandomFloats(kQueries * kHeadDim, 16);
  std::vector<std::byte> sketches(kKeys * KeySketchBytes(kHeadDim));
  MakeKeySketches(keys.data(), kKeys, kHeadDim, sketches.data());
  std::vector<std::byte> packed(SketchQueryBytes(kQueries, kHeadDim));
  PackSketchQueries(queries.data(), kQueries, kHeadDim, packed.data());
  std::vector<float> scores(kQueries * kStride, -1.0f);
  ScoreSketches(packed.data(), kQueries, kHeadDim, nullptr, 0, scores.data(), kStride);
  EXPECT_EQ(scores, std::vector<float>(scores.size(), -1.0f));
  const SketchRun run = {sketches.data(), kKeys};
  ScoreSketches(packed.data(), kQueries, kHeadDim, &run, 1, scores.data(), kStride);
  for (int r = 0; r < kQueries; ++r) {
    for (int i = 0; i < kStride; ++i) {
      EXPECT_EQ(scores[r * kStride + i] == -1.0f, i >= kKeys) << r << ", " << i;
    }
  }
}

// A change here is a change of arithmetic: raise kArithmeticRevision and say why in the commit.
TEST(KeySketchGoldenTest, BitsAreThoseOfTheArithmeticRevision) {
  ASSERT_EQ(kArithmeticRevision, 3) << "new revision: put the new hash here";
  const std::vector<float> keys = KeyLikeFloats(100, 96, 17), queries = RandomFloats(3 * 96, 18);
  const Runs runs(Active(), keys, 96, {60, 40});
  EXPECT_EQ(XXH64(runs.bytes()[0].data(), runs.bytes()[0].size(), 0), 6404219711657818139u);
  const std::vector<float> scores = runs.Score(Active(), queries, 96);
  EXPECT_EQ(XXH64(scores.data(), scores.size() * sizeof(float), 0), 14229712823348950126u)
      << IsaName(ActiveIsa());
}

}  // namespace
}  // namespace skv::kernels
