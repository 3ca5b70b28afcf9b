// The CPU backend against the reference backend, and against itself with another number of threads.

#include "worker/backend/backend.h"

#include <atomic>
#include <cmath>
#include <random>
#include <span>

#include "common/testing/status_matchers.h"
#include "kernels/attention.h"

namespace skv::backend {
namespace {

using kernels::QuantType;

std::vector<float> RandomFloats(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

double RelativeError(const std::vector<float>& got, const std::vector<float>& want) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += std::pow(got[i] - want[i], 2);
    norm += std::pow(want[i], 2);
  }
  return std::sqrt(error / norm);
}

MatrixSlice FloatSlice(const std::vector<float>& values, int num_outputs, int num_inputs) {
  return {QuantType::kF32, reinterpret_cast<const std::byte*>(values.data()),
          num_inputs * int64_t{sizeof(float)}, num_outputs, num_inputs};
}

std::vector<float> Multiply(Backend* backend, const std::vector<float>& a,
                            const std::vector<float>& b, std::vector<float> x, int num_rows) {
  const MatrixSlice slices[] = {FloatSlice(a, 40, 64), FloatSlice(b, 24, 64)};
  auto matrix = backend->LoadMatrix(slices);
  EXPECT_OK(matrix);
  std::vector<float> y(num_rows * 64);
  backend->MatMul(**matrix, {x.data(), 64, num_rows}, {y.data(), 64, num_rows});
  return y;
}

TEST(BackendTest, LoadKvReturnsWhatStoreKvStored) {
  const AttentionShape shape{.num_kv_heads = 2, .group_size = 1, .head_dim = 32};
  auto k = RandomFloats(64, 1), v = RandomFloats(64, 2);
  for (const auto& backend : {CreateRefBackend(1), CreateCpuBackend(2)}) {
    SCOPED_TRACE(backend->name());
    std::vector<std::byte> rows(4 * 32 * sizeof(float));
    const auto row = [&](int i) { return rows.data() + i * 32 * backend->kv_element_bytes(); };
    const KvTarget targets[] = {{row(0), row(2)}, {row(1), row(3)}};
    backend->StoreKv(shape, {k.data(), 64, 1}, {v.data(), 64, 1}, targets);
    std::vector<float> loaded(128);
    backend->LoadKv(rows.data(), 128, loaded.data());
    for (int i = 0; i < 64; ++i) {
      EXPECT_NEAR(loaded[i], k[i], std::abs(k[i]) / 256);
      EXPECT_NEAR(loaded[64 + i], v[i], std::abs(v[i]) / 256);
    }
  }
}

TEST(BackendTest, ForEachRunsEveryBodyOnce) {
  for (const auto& backend : {CreateRefBackend(1), CreateCpuBackend(2)}) {
    std::vector<int> runs(100);
    backend->ForEach(100, [&](int i) { ++runs[i]; });
    EXPECT_EQ(runs, std::vector<int>(100, 1));
  }
}

TEST(BackendTest, StackedProductsAgreeWithTheReferenceOnAnyNumberOfThreads) {
  const auto a = RandomFloats(40 * 64, 1);
  const auto b = RandomFloats(24 * 64, 2);
  for (const int num_rows : {1, 3, 40, 300}) {
    SCOPED_TRACE(num_rows);
    const auto x = RandomFloats(num_rows * 64, 3);
    const auto want = Multiply(CreateRefBackend(1).get(), a, b, x, num_rows);
    const auto one = Multiply(CreateCpuBackend(1).get(), a, b, x, num_rows);
    EXPECT_LT(RelativeError(one, want), 1e-5);
    EXPECT_EQ(Multiply(CreateCpuBackend(2).get(), a, b, x, num_rows), one);
  }
}

TEST(BackendTest, TotalsOfTwoRanksAddUpToOneRanksResidualOnAnyNumberOfThreads) {
  constexpr int kOutputs = 40, kInputs = 320, kSegment = 64, kCut = 192, kRows = 300;
  const auto w = RandomFloats(kOutputs * kInputs, 1);
  auto x = RandomFloats(kRows * kInputs, 2);
  const auto residual = RandomFloats(kRows * kOutputs, 3);
  const auto multiply = [&](Backend* backend, int begin, int end) {
    const MatrixSlice slice = {QuantType::kF32, reinterpret_cast<const std::byte*>(&w[begin]),
                               kInputs * int64_t{sizeof(float)}, kOutputs, end - begin};
    const auto matrix = backend->LoadMatrix({&slice, 1});
    EXPECT_OK(matrix);
    std::vector<double> totals(kRows * kOutputs);
    backend->MatMulTotals(**matrix, kSegment, {x.data() + begin, kInputs, kRows},
                          {totals.data(), kOutputs, kRows});
    return totals;
  };
  const auto add = [&](Backend* backend, std::vector<double> totals) {
    std::vector<float> sum = residual;
    backend->AddTotals({sum.data(), kOutputs, kRows}, {totals.data(), kOutputs, kRows}, kOutputs);
    return sum;
  };
  const auto one = CreateCpuBackend(1), two = CreateCpuBackend(2), ref = CreateRefBackend(2);
  std::vector<double> totals = multiply(two.get(), kCut, kInputs);
  const std::vector<double> first = multiply(one.get(), 0, kCut);
  for (size_t i = 0; i < totals.size(); ++i) totals[i] += first[i];
  const std::vector<float> want = add(one.get(), multiply(one.get(), 0, kInputs));
  EXPECT_EQ(add(two.get(), totals), want);
  EXPECT_LT(RelativeError(want, add(ref.get(), multiply(ref.get(), 0, kInputs))), 1e-5);
}

TEST(BackendTest, EmbeddingRowsOutsideOfTheShardAreZero) {
  const auto table = RandomFloats(16 * 64, 4);
  const TokenId tokens[] = {100, 107, 116, 99};
  for (const auto& backend : {CreateRefBackend(1), CreateCpuBackend(2)}) {
    SCOPED_TRACE(backend->name());
    const MatrixSlice slice = FloatSlice(table, 16, 64);
    ASSERT_OK_AND_ASSIGN(const auto matrix, backend->LoadMatrix({&slice, 1}));
    std::vector<float> x(4 * 64, -1.0f);
    backend->Embed(*matrix, 100, tokens, {x.data(), 64, 4});
    EXPECT_TRUE(std::equal(x.begin(), x.begin() + 64, table.begin()));
    EXPECT_TRUE(std::equal(x.begin() + 64, x.begin() + 128, table.begin() + 7 * 64));
    EXPECT_EQ(std::vector<float>(x.begin() + 128, x.end()), std::vector<float>(128, 0.0f));
  }
}

constexpr int kKvHeads = 2;
constexpr int kGroupSize = 3;

// One sequence of `num_rows` queries over `context` earlier entries.
struct AttentionCase {
  int context, num_rows;
  int head_dim = 64;

  int total() const { return context + num_rows; }
  int kv_width() const { return kKvHeads * head_dim; }
  int q_width() const { return kGroupSize * kv_width(); }
  std::vector<float> keys() const { return RandomFloats(total() * kv_width(), 5); }
  std::vector<float> values() const { return RandomFloats(total() * kv_width(), 7); }
  std::vector<float> queries() const { return RandomFloats(num_rows * q_width(), 6); }
};

// Its keys and values are stored by the backend. With `rows_a_search` queries are tasks of their
// own, and so many are found at a time.
std::vector<float> AttendOnce(Backend* backend, const AttentionCase& c, int rows_a_search = 0) {
  const AttentionShape shape{
      .num_kv_heads = kKvHeads, .group_size = kGroupSize, .head_dim = c.head_dim};
  EXPECT_OK(backend->CheckShape(shape));
  auto k = c.keys(), v = c.values(), q = c.queries();
  const size_t row_bytes = c.head_dim * backend->kv_element_bytes();
  std::vector<std::byte> cache(2 * kKvHeads * c.total() * row_bytes);
  const auto place = [&](int which, int head, int position) {
    return cache.data() + ((which * kKvHeads + head) * size_t(c.total()) + position) * row_bytes;
  };
  std::vector<KvTarget> targets;
  for (int t = 0; t < c.total(); ++t) {
    for (int h = 0; h < kKvHeads; ++h) targets.push_back({place(0, h, t), place(1, h, t)});
  }
  backend->StoreKv(shape, {k.data(), c.kv_width(), c.total()}, {v.data(), c.kv_width(), c.total()},
                   targets);
  std::vector<KvRun> runs;
  std::vector<AttentionTask> tasks;
  for (int h = 0; h < kKvHeads; ++h) runs.push_back({place(0, h, 0), place(1, h, 0), c.total()});
  for (int h = 0; h < kKvHeads; ++h) {
    tasks.push_back({h, 0, c.num_rows, c.context + 1, &runs[h], 1});
  }
  std::vector<float> out(c.num_rows * c.q_width());
  const Rows q_rows = {q.data(), c.q_width(), c.num_rows};
  const Rows out_rows = {out.data(), c.q_width(), c.num_rows};
  if (rows_a_search == 0) {
    backend->Attend(shape, tasks, q_rows, out_rows);
    return out;
  }
  std::vector<AttentionTask> found;
  for (const AttentionTask& task : tasks) {
    for (int row = 0; row < c.num_rows; ++row) {
      found.push_back({task.kv_head, row, 1, task.first_visible + row, task.runs, 1});
    }
  }
  const int num_searches = static_cast<int>(found.size()) / rows_a_search;
  std::vector<std::atomic<int>> searched(num_searches);
  backend->AttendFound(
      shape, num_searches,
      [&](int i) {
        ++searched[i];
        return std::span<const AttentionTask>(found).subspan(i * rows_a_search, rows_a_search);
      },
      q_rows, out_rows);
  for (const auto& times : searched) EXPECT_EQ(times, 1);
  return out;
}

// softmax(q K^T / sqrt(head_dim)) V, as it is written.
std::vector<float> AttendByDefinition(const AttentionCase& c) {
  const auto k = c.keys(), v = c.values(), q = c.queries();
  std::vector<float> out(c.num_rows * c.q_width());
  for (int head = 0; head < kKvHeads * kGroupSize; ++head) {
    const int kv_column = head / kGroupSize * c.head_dim;
    for (int row = 0; row < c.num_rows; ++row) {
      const int num_visible = c.context + row + 1;
      const float* query = q.data() + row * c.q_width() + head * c.head_dim;
      float* result = out.data() + row * c.q_width() + head * c.head_dim;
      std::vector<double> weights(num_visible);
      double sum = 0;
      for (int t = 0; t < num_visible; ++t) {
        double score = 0;
        for (int i = 0; i < c.head_dim; ++i) {
          score += double{query[i]} * k[t * c.kv_width() + kv_column + i];
        }
        sum += weights[t] = std::exp(score / std::sqrt(c.head_dim));
      }
      for (int i = 0; i < c.head_dim; ++i) {
        double mean = 0;
        for (int t = 0; t < num_visible; ++t) {
          mean += weights[t] / sum * v[t * c.kv_width() + kv_column + i];
        }
        result[i] = static_cast<float>(mean);
      }
    }
  }
  return out;
}

TEST(BackendTest, TheReferenceAttendsWithHeadsOfAnySize) {
  for (const int head_dim : {1, 7, 64, 100, 256, 320, 511, 512}) {
    SCOPED_TRACE(head_dim);
    const AttentionCase c{.context = 5, .num_rows = 3, .head_dim = head_dim};
    EXPECT_LT(RelativeError(AttendOnce(CreateRefBackend(1).get(), c), AttendByDefinition(c)), 1e-6);
  }
}

TEST(BackendTest, HeadsThatABackendCannotAttendAreRefused) {
  for (const auto& backend : {CreateRefBackend(1), CreateCpuBackend(1)}) {
    EXPECT_THAT(backend->CheckShape({.num_kv_heads = 1, .group_size = 1, .head_dim = 513}),
                StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("up to")));
  }
}

TEST(BackendTest, AttentionAgreesWithTheReferenceOnAnyNumberOfThreads) {
  const AttentionCase kCases[] = {{0, 1}, {0, 40}, {130, 3}, {2500, 1}, {300, 65}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::Message() << c.context << "+" << c.num_rows);
    const auto want = AttendOnce(CreateRefBackend(2).get(), c);
    const auto one = AttendOnce(CreateCpuBackend(1).get(), c);
    EXPECT_LT(RelativeError(one, want), 8e-3);  // bf16 keys, values, queries and weights
    EXPECT_EQ(AttendOnce(CreateCpuBackend(2).get(), c), one);
  }
}

TEST(BackendTest, WhatIsFoundMeanwhileIsAttendedAsWhatIsGiven) {
  std::vector<std::unique_ptr<Backend>> backends;  // each goes through all cases
  for (const int threads : {1, 2, 5}) backends.push_back(CreateCpuBackend(threads));
  backends.push_back(CreateRefBackend(2));
  for (const AttentionCase& c :
       {AttentionCase{0, 1}, {60, 1}, {700, 6}, {1000, 1}, {130, 24}, {300, 2}}) {
    for (const int rows_a_search : {1, c.num_rows, 1}) {
      SCOPED_TRACE(testing::Message() << c.context << "+" << c.num_rows << "/" << rows_a_search);
      for (size_t i = 0; i < backends.size(); ++i) {
        ASSERT_EQ(AttendOnce(backends[i].get(), c, rows_a_search), AttendOnce(backends[i].get(), c))
            << "backend " << i;
      }
    }
  }
}

TEST(BackendTest, NothingFoundIsNothingAttended) {
  for (const auto& backend : {CreateRefBackend(1), CreateCpuBackend(2)}) {
    const AttentionShape shape{.num_kv_heads = 1, .group_size = 1, .head_dim = 32};
    std::vector<float> out(32, 3.0f);
    for (const int num_searches : {0, 7}) {
      backend->AttendFound(shape, num_searches,
                           [](int) { return std::span<const AttentionTask>(); },
                           {out.data(), 32, 1}, {out.data(), 32, 1});
    }
    EXPECT_EQ(out, std::vector<float>(32, 3.0f));
  }
}

TEST(BackendTest, DenormalsAreFlushedWhateverTheNumberOfRows) {
  constexpr int kWidth = 32;
  const auto backend = CreateCpuBackend(2);
  for (const int num_rows : {1, 16, 17, 300}) {
    std::vector<float> gate(num_rows * kWidth, 1e-39f), up(num_rows * kWidth, 1e10f);
    backend->SiluMul({gate.data(), kWidth, num_rows}, {up.data(), kWidth, num_rows}, kWidth);
    EXPECT_EQ(gate, std::vector<float>(num_rows * kWidth, 0.0f)) << num_rows << " rows";
  }
}

TEST(BackendTest, AnUnknownBackendIsNamed) {
  EXPECT_THAT(CreateBackend("gpu", 1), StatusIs(absl::StatusCode::kInvalidArgument,
                                                testing::HasSubstr("\"gpu\" is unknown")));
}

}  // namespace
}  // namespace skv::backend
