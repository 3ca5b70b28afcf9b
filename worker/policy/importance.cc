#include "worker/policy/importance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/selection.h"

namespace skv::policy {
namespace {

constexpr int kPoolRadius = 3;

// Every prompt key as an indexed vector of its own.
std::vector<uint32_t> PackKeys(const ImportanceShape& shape, const KvReader& kv) {
  constexpr int kRows = 128;
  std::vector<float> rows(int64_t{kRows} * shape.head_dim);
  std::vector<uint32_t> index(kernels::IndexWords(shape.num_prompt_tokens, shape.head_dim));
  for (int begin = 0; begin < shape.num_prompt_tokens; begin += kRows) {
    const int end = std::min(begin + kRows, shape.num_prompt_tokens);
    kv.ReadKeys(begin, end, rows.data());
    for (int t = begin; t < end; ++t) {
      kernels::PackIndexVector(rows.data() + int64_t{t - begin} * shape.head_dim, shape.head_dim, t,
                               index.data());
    }
  }
  return index;
}

// What the window's queries of one head give each token before the window, summed.
//   queries [window, head_dim]
std::vector<float> SumAttention(const ImportanceShape& shape, const std::vector<uint32_t>& index,
                                const std::vector<float>& queries) {
  const int n = shape.num_prompt_tokens, before = n - shape.window;
  std::vector<float> scores(int64_t{shape.window} * n), sums(before, 0.0f);
  kernels::ScoreVectors(queries.data(), shape.head_dim, shape.window, shape.head_dim, index.data(),
                        n, scores.data(), n);
  for (int row = 0; row < shape.window; ++row) {
    float* const shares = scores.data() + int64_t{row} * n;
    kernels::WeightedSoftmax(nullptr, before + row + 1, shares);
    for (int t = 0; t < before; ++t) sums[t] += shares[t];
  }
  return sums;
}

void AddPooled(const std::vector<float>& sums, std::vector<float>* total) {
  const int n = static_cast<int>(sums.size());
  for (int t = 0; t < n; ++t) {
    const auto first = sums.begin() + std::max(0, t - kPoolRadius);
    const auto last = sums.begin() + std::min(n, t + kPoolRadius + 1);
    (*total)[t] += *std::max_element(first, last);
  }
}

}  // namespace

std::vector<int32_t> ImportantPositions(const ImportanceShape& shape, const KvReader& kv,
                                        const std::vector<float>& queries, int num_kept) {
  const int before = shape.num_prompt_tokens - shape.window;
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  const std::vector<uint32_t> index = PackKeys(shape, kv);
  std::vector<float> total(before, 0.0f), head_queries(int64_t{shape.window} * shape.head_dim);
  for (int head = 0; head < shape.group_size; ++head) {
    for (int row = 0; row < shape.window; ++row) {
      const float* const query =
          queries.data() + (int64_t{row} * shape.group_size + head) * shape.head_dim;
      std::transform(query, query + shape.head_dim,
                     head_queries.begin() + int64_t{row} * shape.head_dim,
                     [scale](float x) { return x * scale; });
    }
    // The sum over heads ranks as their mean does.
    AddPooled(SumAttention(shape, index, head_queries), &total);
  }
  std::vector<int32_t> positions(before);
  std::iota(positions.begin(), positions.end(), 0);
  const int num_chosen = num_kept - shape.window;
  std::nth_element(
      positions.begin(), positions.begin() + num_chosen, positions.end(),
      [&](int32_t a, int32_t b) { return total[a] != total[b] ? total[a] > total[b] : a < b; });
  positions.resize(num_chosen + shape.window);
  std::iota(positions.begin() + num_chosen, positions.end(), before);
  std::sort(positions.begin(), positions.begin() + num_chosen);
  return positions;
}

}  // namespace skv::policy
