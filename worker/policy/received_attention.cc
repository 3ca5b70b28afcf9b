#include "worker/policy/received_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/selection.h"
#include "worker/policy/packed_keys.h"

namespace skv::policy {
namespace {

// As attention scales them: [queries.num_rows * group_size, head_dim].
std::vector<float> ScaledQueries(const SequenceShape& shape, const QueryRows& queries) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  const int width = shape.group_size * shape.head_dim;
  std::vector<float> scaled(int64_t{queries.num_rows} * width);
  for (int row = 0; row < queries.num_rows; ++row) {
    const float* const query = queries.data + row * queries.stride;
    std::transform(query, query + width, scaled.begin() + int64_t{row} * width,
                   [scale](float x) { return x * scale; });
  }
  return scaled;
}

QueryRows SomeRows(const QueryRows& queries, int first, int num_rows) {
  return {queries.data + first * queries.stride, queries.stride, queries.first_position + first,
          std::min(num_rows, queries.num_rows - first)};
}

// The first position that a query at `position` sees.
int SeenBegin(int position, int window) { return std::max(0, position + 1 - window); }

}  // namespace

void ScoreIndexedKeys(const SequenceShape& shape, const QueryRows& queries, const uint32_t* keys,
                      int num_keys, float* scores) {
  // The keys go by in pieces that stay in the cache for all queries.
  constexpr int kPiece = 32 * kernels::kIndexBlockVectors;
  const std::vector<float> scaled = ScaledQueries(shape, queries);
  for (int begin = 0; begin < num_keys; begin += kPiece) {
    kernels::ScoreVectors(scaled.data(), shape.head_dim, queries.num_rows * shape.group_size,
                          shape.head_dim, keys + kernels::IndexWords(begin, shape.head_dim),
                          std::min(kPiece, num_keys - begin), scores + begin, num_keys);
  }
}

void AddShares(int num_keys, float* scores, float* received) {
  kernels::WeightedSoftmax(/*weights=*/nullptr, num_keys, scores);
  for (int i = 0; i < num_keys; ++i) received[i] += scores[i];
}

void AddReceivedAttention(const SequenceShape& shape, const KvReader& kv, const QueryRows& queries,
                          int window, int first, float* received) {
  constexpr int kBlockQueries = 32;  // that share what they read of the keys
  const int block_rows = std::max(1, kBlockQueries / shape.group_size);
  const int keys_begin = SeenBegin(queries.first_position, window);
  std::vector<uint32_t> keys;
  PackKeys(kv, {keys_begin, queries.first_position + queries.num_rows}, shape.head_dim,
           /*first_number=*/0, &keys);
  std::vector<float> scores;
  for (int begin = 0; begin < queries.num_rows; begin += block_rows) {
    const QueryRows rows = SomeRows(queries, begin, block_rows);
    // Whole blocks of the index.
    const int skipped = (SeenBegin(rows.first_position, window) - keys_begin) /
                        kernels::kIndexBlockVectors * kernels::kIndexBlockVectors;
    const int scored_begin = keys_begin + skipped;
    const int num_keys = rows.first_position + rows.num_rows - scored_begin;
    scores.resize(int64_t{rows.num_rows} * shape.group_size * num_keys);
    ScoreIndexedKeys(shape, rows, keys.data() + kernels::IndexWords(skipped, shape.head_dim),
                     num_keys, scores.data());
    for (int i = 0; i < rows.num_rows * shape.group_size; ++i) {
      const int position = rows.first_position + i / shape.group_size;
      const int seen_begin = SeenBegin(position, window), num_seen = position + 1 - seen_begin;
      float* const seen = scores.data() + int64_t{i} * num_keys + seen_begin - scored_begin;
      kernels::WeightedSoftmax(/*weights=*/nullptr, num_seen, seen);
      for (int t = std::max(seen_begin, first); t <= position; ++t) {
        received[t - first] += seen[t - seen_begin];
      }
    }
  }
}

}  // namespace skv::policy
