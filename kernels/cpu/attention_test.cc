#include "kernels/attention.h"

#include <xxhash.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/arithmetic.h"
#include "kernels/cpu/attention_paths.h"
#include "kernels/denormals.h"
#include "kernels/ref/attention_ref.h"

namespace skv::kernels {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<Isa> Isas() {
  std::vector<Isa> isas;
  for (int level = 0; level <= static_cast<int>(BestIsa()); ++level) {
    isas.push_back(static_cast<Isa>(level));
  }
  return isas;
}

struct Scratch {
  explicit Scratch(const AttentionShape& shape)
      : bytes(static_cast<std::byte*>(
            std::aligned_alloc(64, (AttentionScratchBytes(shape) + 63) / 64 * 64))) {
    // Nothing may depend on what a call before left here.
    std::memset(bytes, 0xff, AttentionScratchBytes(shape));
  }
  ~Scratch() { std::free(bytes); }
  std::byte* const bytes;
};

AttentionShape Shape(int head_dim, int group_size) {
  return {head_dim, group_size, 1.0f / std::sqrt(static_cast<float>(head_dim))};
}

std::vector<Bf16> ToBf16(const std::vector<float>& src) {
  std::vector<Bf16> dst(src.size());
  ConvertToBf16(src.data(), static_cast<int64_t>(src.size()), dst.data());
  return dst;
}

float FromBf16(Bf16 x) {
  const uint32_t bits = uint32_t{x} << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

// Random keys and values of unit variance; queries such that scores have the given deviation.
class Problem {
 public:
  Problem(AttentionShape shape, int num_entries, int num_queries, float score_deviation = 4.0f,
          uint64_t seed = 1)
      : shape(shape), num_entries(num_entries), num_queries(num_queries) {
    std::mt19937_64 random(seed);
    k = ToBf16(Normal(random, num_entries, 1.0f));
    v = ToBf16(Normal(random, num_entries, 1.0f));
    q = Normal(random, num_queries * shape.group_size, score_deviation);
  }

  int64_t q_stride() const { return int64_t{shape.group_size} * shape.head_dim; }

  // The list in runs of the given lengths, repeated; each run in memory of its own.
  std::vector<KvRun> Runs(const std::vector<int>& lengths = {1 << 30}) {
    std::vector<KvRun> runs;
    for (int begin = 0, i = 0; begin < num_entries; ++i) {
      const int count = std::min(lengths[i % lengths.size()], num_entries - begin);
      runs.push_back({Copy(k, begin, count), Copy(v, begin, count), count});
      begin += count;
    }
    return runs;
  }

  // Rows of queries [begin, end) when the last query of the problem sees the whole list.
  std::vector<float> Prefill(Isa isa, const std::vector<KvRun>& runs, int begin, int end) const {
    std::vector<float> out((end - begin) * q_stride());
    const Scratch scratch(shape);
    AttendPrefill(AttentionPathOf(isa), shape, runs.data(), static_cast<int>(runs.size()),
                  q.data() + begin * q_stride(), q_stride(), end - begin, Visible(begin),
                  out.data(), q_stride(), scratch.bytes);
    return out;
  }

  // Query i through groups computed last to first, one call each.
  std::vector<float> Decode(Isa isa, const std::vector<KvRun>& runs, int i) const {
    const AttentionPath& path = AttentionPathOf(isa);
    const int num_groups = (Visible(i) + kAttentionGroup - 1) / kAttentionGroup;
    const int state_floats = AttentionStateFloats(shape);
    std::vector<float> states(num_groups * state_floats), out(q_stride());
    for (int g = num_groups - 1; g >= 0; --g) {
      const Scratch scratch(shape);
      AttendGroups(path, shape, runs.data(), static_cast<int>(runs.size()),
                   q.data() + i * q_stride(), Visible(i), g, g + 1,
                   states.data() + g * state_floats, scratch.bytes);
    }
    MergeGroups(path, shape, states.data(), num_groups, out.data());
    return out;
  }

  // The same through one call for all groups.
  std::vector<float> DecodeAtOnce(Isa isa, const std::vector<KvRun>& runs, int i) const {
    const AttentionPath& path = AttentionPathOf(isa);
    const int num_groups = (Visible(i) + kAttentionGroup - 1) / kAttentionGroup;
    std::vector<float> states(num_groups * AttentionStateFloats(shape)), out(q_stride());
    const Scratch scratch(shape);
    AttendGroups(path, shape, runs.data(), static_cast<int>(runs.size()), q.data() + i * q_stride(),
                 Visible(i), 0, num_groups, states.data(), scratch.bytes);
    MergeGroups(path, shape, states.data(), num_groups, out.data());
    return out;
  }

  std::vector<float> Scalar(const std::vector<KvRun>& runs, int i) const {
    std::vector<float> out(q_stride());
    for (int h = 0; h < shape.group_size; ++h) {
      const int64_t head = int64_t{h} * shape.head_dim;
      AttendRowScalar(shape, runs.data(), static_cast<int>(runs.size()),
                      q.data() + i * q_stride() + head, Visible(i), out.data() + head);
    }
    return out;
  }

  int Visible(int i) const { return num_entries - num_queries + 1 + i; }

  const AttentionShape shape;
  const int num_entries, num_queries;
  std::vector<Bf16> k, v;
  std::vector<float> q;

 private:
  std::vector<float> Normal(std::mt19937_64& random, int num_rows, float deviation) const {
    std::vector<float> values(int64_t{num_rows} * shape.head_dim);
    for (float& x : values) {
      // The sum of twelve uniform numbers: close to normal, and the same with every library.
      int64_t sum = 0;
      for (int draw = 0; draw < 3; ++draw) {
        for (uint64_t bits = random(); bits != 0; bits >>= 16) sum += bits & 0xffff;
      }
      x = deviation * (static_cast<float>(sum) / 65536.0f - 6.0f);
    }
    return values;
  }
  const Bf16* Copy(const std::vector<Bf16>& src, int begin, int count) {
    const auto first = src.begin() + int64_t{begin} * shape.head_dim;
    copies_.push_back(
        std::make_unique<std::vector<Bf16>>(first, first + int64_t{count} * shape.head_dim));
    return copies_.back()->data();
  }

  std::vector<std::unique_ptr<std::vector<Bf16>>> copies_;
};

std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

std::vector<float> Row(const std::vector<float>& rows, int64_t stride, int i) {
  return {rows.begin() + i * stride, rows.begin() + (i + 1) * stride};
}

TEST(AttentionTest, EveryPathGivesTheBitsOfTheScalarDefinition) {
  for (const int num_visible : {1, 2, 15, 16, 17, 127, 128, 129, 255, 300, 1000}) {
    for (const auto& [head_dim, group_size] :
         {std::pair{32, 1}, {64, 3}, {64, 4}, {96, 2}, {128, 8}, {256, 1}}) {
      Problem problem(Shape(head_dim, group_size), num_visible, 1);
      const std::vector<KvRun> runs = problem.Runs();
      const std::vector<uint32_t> expected = Bits(problem.Scalar(runs, 0));
      for (const Isa isa : Isas()) {
        SCOPED_TRACE(testing::Message() << IsaName(isa) << " visible " << num_visible
                                        << " head_dim " << head_dim << " group " << group_size);
        EXPECT_EQ(Bits(problem.Prefill(isa, runs, 0, 1)), expected);
        EXPECT_EQ(Bits(problem.Decode(isa, runs, 0)), expected);
        EXPECT_EQ(Bits(problem.DecodeAtOnce(isa, runs, 0)), expected);
      }
    }
  }
}

TEST(AttentionTest, PrefillRowsEqualDecodeRowsWhateverTheTiling) {
  for (const auto& [head_dim, group_size] :
       {std::pair{64, 3}, {64, 1}, {64, 16}, {96, 4}, {128, 8}, {32, 5}}) {
    const int num_queries = 150;  // more than a tile, and across a group boundary
    Problem problem(Shape(head_dim, group_size), 330, num_queries);
    const std::vector<KvRun> runs = problem.Runs({16});
    for (const Isa isa : Isas()) {
      SCOPED_TRACE(testing::Message()
                   << IsaName(isa) << " head_dim " << head_dim << " group " << group_size);
      const std::vector<float> whole = problem.Prefill(isa, runs, 0, num_queries);
      for (const int step : {7, 149}) {
        for (int begin = 0; begin < num_queries; begin += step) {
          const int end = std::min(begin + step, num_queries);
          const std::vector<float> part = problem.Prefill(isa, runs, begin, end);
          const std::vector<float> expected(whole.begin() + begin * problem.q_stride(),
                                            whole.begin() + end * problem.q_stride());
          ASSERT_EQ(Bits(part), Bits(expected)) << "queries " << begin << " to " << end;
        }
      }
      for (int i = 0; i < num_queries; i += 13) {
        ASSERT_EQ(Bits(problem.Decode(isa, runs, i)), Bits(Row(whole, problem.q_stride(), i)))
            << "query " << i;
      }
    }
  }
}

TEST(AttentionTest, RowsDoNotDependOnWhereRunsBeginAndEnd) {
  Problem problem(Shape(64, 3), 517, 40);
  const std::vector<KvRun> one = problem.Runs();
  for (const Isa isa : Isas()) {
    SCOPED_TRACE(IsaName(isa));
    const std::vector<uint32_t> expected = Bits(problem.Prefill(isa, one, 0, 40));
    for (const std::vector<int>& lengths :
         {std::vector<int>{1}, {16}, {128}, {3, 61, 7}, {127, 1}, {129}, {4, 128, 33, 90}}) {
      const std::vector<KvRun> runs = problem.Runs(lengths);
      EXPECT_EQ(Bits(problem.Prefill(isa, runs, 0, 40)), expected);
      EXPECT_EQ(Bits(problem.Decode(isa, runs, 39)),
                Bits(Row(problem.Prefill(isa, one, 0, 40), problem.q_stride(), 39)));
    }
  }
}

TEST(AttentionTest, EmptyRunsAreSkipped) {
  Problem problem(Shape(64, 1), 140, 1);
  const std::vector<KvRun> runs = problem.Runs({70});
  const std::vector<KvRun> with_empty = {
      {nullptr, nullptr, 0}, runs[0], {nullptr, nullptr, 0}, {nullptr, nullptr, 0}, runs[1]};
  EXPECT_EQ(Bits(problem.Prefill(ActiveIsa(), with_empty, 0, 1)),
            Bits(problem.Prefill(ActiveIsa(), runs, 0, 1)));
  EXPECT_EQ(Bits(problem.Decode(ActiveIsa(), with_empty, 0)),
            Bits(problem.Decode(ActiveIsa(), runs, 0)));
}

TEST(AttentionTest, HiddenEntriesDoNotMatterEvenWhenTheyAreNan) {
  for (const int num_visible : {1, 2, 31, 100, 127, 128, 131}) {
    Problem problem(Shape(64, 3), num_visible + 5, 6);  // query 0 sees num_visible entries
    const std::vector<KvRun> clean = problem.Runs();
    for (const Isa isa : Isas()) {
      SCOPED_TRACE(testing::Message() << IsaName(isa) << " visible " << num_visible);
      const std::vector<float> expected = problem.Prefill(isa, clean, 0, 1);
      for (const uint16_t bits : {0x7fc0, 0x7f80, 0xff80}) {
        Problem poisoned(Shape(64, 3), num_visible + 5, 6);
        std::fill(poisoned.k.begin() + num_visible * 64, poisoned.k.end(), bits);
        std::fill(poisoned.v.begin() + num_visible * 64, poisoned.v.end(), bits);
        const std::vector<KvRun> runs = poisoned.Runs({16});
        // Alone, and in a tile with queries that see the poison.
        EXPECT_EQ(Bits(poisoned.Prefill(isa, runs, 0, 1)), Bits(expected));
        EXPECT_EQ(Bits(Row(poisoned.Prefill(isa, runs, 0, 6), poisoned.q_stride(), 0)),
                  Bits(expected));
        EXPECT_EQ(Bits(poisoned.Decode(isa, runs, 0)), Bits(expected));
      }
    }
  }
}

TEST(AttentionTest, IsCloseToTheDoubleReference) {
  for (const auto& [head_dim, group_size] : {std::pair{64, 3}, {128, 8}, {96, 2}}) {
    Problem problem(Shape(head_dim, group_size), 700, 60, 3.0f);
    const std::vector<KvRun> runs = problem.Runs({16});
    std::vector<float> k, v;
    for (const Bf16 x : problem.k) k.push_back(FromBf16(x));
    for (const Bf16 x : problem.v) v.push_back(FromBf16(x));
    const FloatKvRun run = {k.data(), v.data(), problem.num_entries};
    std::vector<float> expected(60 * problem.q_stride());
    AttentionRef(problem.shape, &run, 1, problem.q.data(), problem.q_stride(), 60,
                 problem.Visible(0), expected.data(), problem.q_stride());
    const std::vector<float> out = problem.Prefill(ActiveIsa(), runs, 0, 60);
    // A score of deviation 3 errs by 3 * 2^-9 / sqrt(3) at most typically (q rounded), so p errs by
    // 0.4 % and, with p itself rounded to 2^-9, o (of magnitude ~1) by no more than 6 times that.
    const float tolerance = 6 * (3.0f + 1.0f) / 512 / std::sqrt(3.0f);
    double sum_squares = 0;
    for (size_t i = 0; i < out.size(); ++i) {
      ASSERT_NEAR(out[i], expected[i], tolerance) << "at " << i;
      sum_squares += std::pow(out[i] - expected[i], 2);
    }
    EXPECT_LT(std::sqrt(sum_squares / out.size()), tolerance / 6);
  }
}

TEST(AttentionTest, HugeScoresNeitherOverflowNorLoseTheWinner) {
  Problem problem(Shape(64, 2), 200, 1, 1e18f);
  const std::vector<KvRun> runs = problem.Runs();
  for (const Isa isa : Isas()) {
    for (const float x : problem.Decode(isa, runs, 0)) EXPECT_TRUE(std::isfinite(x));
  }
  // One key wins by far: the output is its value.
  Problem one_hot(Shape(64, 1), 300, 1);
  std::fill(one_hot.q.begin(), one_hot.q.end(), 100.0f);
  std::fill(one_hot.k.begin() + 170 * 64, one_hot.k.begin() + 171 * 64, Bf16{0x42c8});  // 100.0
  for (const Isa isa : Isas()) {
    const std::vector<float> out = one_hot.Decode(isa, one_hot.Runs(), 0);
    for (int c = 0; c < 64; ++c) EXPECT_EQ(out[c], FromBf16(one_hot.v[170 * 64 + c]));
  }
}

TEST(AttentionTest, FarLosersCountWhereTheWinnersHaveNoValue) {
  constexpr int kHeadDim = 64;
  for (const int num_winners : {1, 128}) {  // the losers in the winner's group, and in the next
    Problem problem(Shape(kHeadDim, 1), num_winners + 100, 1);
    std::vector<float> k, v;
    for (int i = 0; i < problem.num_entries; ++i) {
      // Scores fall by 1 an entry, that is past the 126 powers of two that count.
      const int loss = std::max(0, i - num_winners + 1);
      k.insert(k.end(), kHeadDim, -0.125f * static_cast<float>(loss));
      v.insert(v.end(), kHeadDim, loss < 50 ? 0.0f : 1.0f);
    }
    problem.k = ToBf16(k);
    problem.v = ToBf16(v);
    std::fill(problem.q.begin(), problem.q.end(), 1.0f);
    const std::vector<KvRun> runs = problem.Runs();
    const std::vector<float> expected = problem.Scalar(runs, 0);
    EXPECT_THAT(expected, testing::Each(testing::Gt(0.0f)));
    for (const Isa isa : Isas()) {
      SCOPED_TRACE(testing::Message() << IsaName(isa) << " winners " << num_winners);
      EXPECT_EQ(Bits(problem.Prefill(isa, runs, 0, 1)), Bits(expected));
      EXPECT_EQ(Bits(problem.Decode(isa, runs, 0)), Bits(expected));
    }
  }
}

TEST(AttentionTest, ReturnsOnNanAndInfiniteInput) {
  for (const Isa isa : Isas()) {
    for (const float bad : {kNan, kInf, -kInf, 3e38f, 1e-40f}) {
      Problem problem(Shape(64, 3), 300, 5);
      problem.q[64] = bad;
      problem.k[100 * 64 + 3] = ToBf16({bad})[0];
      const std::vector<KvRun> runs = problem.Runs();
      const std::vector<float> out = problem.Prefill(isa, runs, 0, 5);
      EXPECT_EQ(out.size(), 5u * 3 * 64);
      problem.Decode(isa, runs, 4);
    }
  }
}

TEST(AttentionTest, NanInOneQueryLeavesOtherRowsAlone) {
  Problem problem(Shape(64, 3), 300, 5);
  const std::vector<KvRun> runs = problem.Runs();
  for (const Isa isa : Isas()) {
    SCOPED_TRACE(IsaName(isa));
    const std::vector<float> expected = problem.Prefill(isa, runs, 0, 5);
    Problem poisoned(Shape(64, 3), 300, 5);
    poisoned.q[2 * poisoned.q_stride() + 64] = kNan;  // query 2, head 1
    const std::vector<float> out = poisoned.Prefill(isa, runs, 0, 5);
    for (int row = 0; row < 15; ++row) {
      if (row == 7) continue;
      EXPECT_EQ(Bits(Row(out, 64, row)), Bits(Row(expected, 64, row))) << "row " << row;
    }
  }
}

TEST(AttentionTest, StridesMayBeWiderThanRows) {
  Problem problem(Shape(64, 3), 200, 9);
  const std::vector<KvRun> runs = problem.Runs();
  const std::vector<float> expected = problem.Prefill(ActiveIsa(), runs, 0, 9);
  const int64_t stride = problem.q_stride() + 5;
  std::vector<float> q(9 * stride), out(9 * stride, -7.0f);
  for (int i = 0; i < 9; ++i) {
    std::copy_n(problem.q.data() + i * problem.q_stride(), problem.q_stride(), &q[i * stride]);
  }
  const Scratch scratch(problem.shape);
  AttendPrefill(problem.shape, runs.data(), 1, q.data(), stride, 9, problem.Visible(0), out.data(),
                stride, scratch.bytes);
  for (int i = 0; i < 9; ++i) {
    const std::vector<float> row(&out[i * stride], &out[i * stride] + problem.q_stride());
    EXPECT_EQ(Bits(row), Bits(Row(expected, problem.q_stride(), i)));
    for (int pad = 0; pad < 5; ++pad) EXPECT_EQ(out[i * stride + problem.q_stride() + pad], -7.0f);
  }
}

TEST(AttentionTest, Bf16RoundingIsTheSameOnEveryPath) {
  std::mt19937_64 random(7);
  std::vector<float> src(100'003);
  for (float& x : src) {
    const auto bits = static_cast<uint32_t>(random());
    std::memcpy(&x, &bits, sizeof(x));
  }
  src[0] = kNan, src[1] = kInf, src[2] = 1e-40f, src[3] = -1e-40f, src[4] = 3.4e38f;
  std::vector<Bf16> expected(src.size());
  ConvertToBf16(AttentionScalar(), src.data(), src.size(), expected.data());
  EXPECT_EQ(expected[1], 0x7f80);
  EXPECT_EQ(expected[2], 0x0000);
  EXPECT_EQ(expected[3], 0x8000);
  EXPECT_EQ(expected[4], 0x7f80);
  EXPECT_TRUE(std::isnan(FromBf16(expected[0])));
  for (const Isa isa : Isas()) {
    std::vector<Bf16> dst(src.size());
    ConvertToBf16(AttentionPathOf(isa), src.data(), src.size(), dst.data());
    EXPECT_EQ(dst, expected) << IsaName(isa);
  }
}

// Random bf16 pairs and accumulators whose exponents lie in [low, high).
struct DotCase {
  uint32_t a[16], b[16];
  float acc[16];

  DotCase(std::mt19937_64& random, int low, int high) {
    const auto exponent = [&] { return low + static_cast<uint32_t>(random() % (high - low)); };
    const auto bf16 = [&] { return (random() & 0x807f) | exponent() << 7; };
    for (int i = 0; i < 16; ++i) {
      a[i] = static_cast<uint32_t>(bf16() | bf16() << 16);
      b[i] = static_cast<uint32_t>(bf16() | bf16() << 16);
      const uint32_t bits = (random() & 0x807fffff) | exponent() << 23;
      std::memcpy(&acc[i], &bits, sizeof(bits));
    }
  }
};

float Half(uint32_t pair, bool odd) { return FromBf16(static_cast<Bf16>(odd ? pair >> 16 : pair)); }

TEST(AttentionTest, DotOfPairsRoundsTwiceOddElementFirstAndFlushesDenormals) {
  const FlushDenormals flush;
  std::mt19937_64 random(3);
  // Like magnitudes; any; products that underflow; sums that underflow.
  for (const auto& [low, high] : {std::pair{120, 136}, {0, 255}, {0, 80}, {55, 75}}) {
    for (int i = 0; i < 16'000; ++i) {
      const DotCase c(random, low, high);
      float expected[16];
      for (int lane = 0; lane < 16; ++lane) {
        const float odd = std::fma(Half(c.a[lane], true), Half(c.b[lane], true), c.acc[lane]);
        expected[lane] = std::fma(Half(c.a[lane], false), Half(c.b[lane], false), odd);
      }
      for (const Isa isa : Isas()) {
        float out[16];
        AttentionPathOf(isa).dot_pairs(c.acc, c.a, c.b, out);
        for (int lane = 0; lane < 16; ++lane) {
          if (std::isnan(expected[lane]) && std::isnan(out[lane])) continue;
          ASSERT_EQ(std::memcmp(&out[lane], &expected[lane], sizeof(float)), 0)
              << IsaName(isa) << ": " << out[lane] << " != " << expected[lane] << " of "
              << c.acc[lane] << std::hex << ", 0x" << c.a[lane] << ", 0x" << c.b[lane];
        }
      }
    }
  }
}

// A change here is a change of arithmetic: bump the arithmetic revision (docs/arithmetic.md).
// A change here is a change of arithmetic: raise kArithmeticRevision and say why in the commit.
TEST(AttentionGoldenTest, BitsAreThoseOfTheArithmeticRevision) {
  ASSERT_EQ(kArithmeticRevision, 3) << "new revision: put the new hash here";
  Problem problem(Shape(64, 3), 1000, 200);
  const std::vector<float> out = problem.Prefill(ActiveIsa(), problem.Runs({16}), 0, 200);
  EXPECT_EQ(XXH64(out.data(), out.size() * sizeof(float), 0), 14413336938447655799u)
      << IsaName(ActiveIsa());
}

}  // namespace
}  // namespace skv::kernels
