#include "worker/policy/importance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/selection.h"
#include "worker/policy/largest_scores.h"
#include "worker/policy/packed_keys.h"

namespace skv::policy {
namespace {

constexpr int kPoolRadius = 3;  // of kMaxOfNeighbours

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

void AddPooled(const std::vector<float>& sums, int radius, std::vector<float>* total) {
  const int n = static_cast<int>(sums.size());
  for (int t = 0; t < n; ++t) {
    const auto first = sums.begin() + std::max(0, t - radius);
    const auto last = sums.begin() + std::min(n, t + radius + 1);
    (*total)[t] += *std::max_element(first, last);
  }
}

}  // namespace

int ObservationWindow(int budget_tokens) { return std::min(32, budget_tokens / 4); }

std::vector<float> WindowAttention(const ImportanceShape& shape, const KvReader& kv,
                                   const std::vector<float>& queries, Pooling pooling) {
  const int before = shape.num_prompt_tokens - shape.window;
  const int radius = pooling == Pooling::kNone ? 0 : kPoolRadius;
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  std::vector<uint32_t> index;
  PackKeys(kv, {0, shape.num_prompt_tokens}, shape.head_dim, /*first_number=*/0, &index);
  std::vector<float> total(before, 0.0f), head_queries(int64_t{shape.window} * shape.head_dim);
  for (int head = 0; head < shape.group_size; ++head) {
    for (int row = 0; row < shape.window; ++row) {
      const float* const query =
          queries.data() + (int64_t{row} * shape.group_size + head) * shape.head_dim;
      std::transform(query, query + shape.head_dim,
                     head_queries.begin() + int64_t{row} * shape.head_dim,
                     [scale](float x) { return x * scale; });
    }
    AddPooled(SumAttention(shape, index, head_queries), radius, &total);
  }
  return total;
}

std::vector<int32_t> ImportantPositions(const ImportanceShape& shape, const KvReader& kv,
                                        const std::vector<float>& queries, int num_kept) {
  // The sum over heads ranks as their mean does.
  std::vector<int32_t> positions = LargestScores(
      WindowAttention(shape, kv, queries, Pooling::kMaxOfNeighbours), num_kept - shape.window);
  positions.resize(num_kept);
  std::iota(positions.end() - shape.window, positions.end(),
            shape.num_prompt_tokens - shape.window);
  return positions;
}

}  // namespace skv::policy
