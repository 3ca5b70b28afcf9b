#include "kernels/ref/attention_ref.h"

#include <algorithm>
#include <cmath>

namespace skv::kernels {
namespace {

// Independent sums, so that the compiler may use vectors without reordering any one of them.
constexpr int kSums = 8;

double Dot(const double* q, const float* k, int head_dim) {
  double sums[kSums] = {};
  int c = 0;
  for (; c + kSums <= head_dim; c += kSums) {
    for (int j = 0; j < kSums; ++j) sums[j] += q[c + j] * static_cast<double>(k[c + j]);
  }
  double total = 0;
  for (double sum : sums) total += sum;
  for (; c < head_dim; ++c) total += q[c] * static_cast<double>(k[c]);
  return total;
}

// The running softmax of one query of one head.
struct RowState {
  double max = -INFINITY;
  double sum = 0;
  double o[kMaxRefHeadDim] = {};

  void Add(double score, const float* v, int head_dim) {
    if (score > max) {
      const double keep = std::exp(max - score);
      for (int c = 0; c < head_dim; ++c) o[c] *= keep;
      sum *= keep;
      max = score;
    }
    const double p = std::exp(score - max);
    for (int c = 0; c < head_dim; ++c) o[c] += p * static_cast<double>(v[c]);
    sum += p;
  }
};

void AttendRow(const AttentionShape& shape, const FloatKvRun* runs, int num_runs, const float* q,
               int num_visible, float* out) {
  const int head_dim = shape.head_dim;
  double scaled[kMaxRefHeadDim];
  for (int c = 0; c < head_dim; ++c) scaled[c] = static_cast<double>(q[c]) * shape.scale;
  RowState state;
  for (int r = 0; r < num_runs && num_visible > 0; ++r) {
    const int count = std::min(num_visible, runs[r].num_rows);
    for (int i = 0; i < count; ++i) {
      const int64_t row = int64_t{i} * head_dim;
      state.Add(Dot(scaled, runs[r].k + row, head_dim), runs[r].v + row, head_dim);
    }
    num_visible -= count;
  }
  for (int c = 0; c < head_dim; ++c) out[c] = static_cast<float>(state.o[c] / state.sum);
}

}  // namespace

void AttentionRef(const AttentionShape& shape, const FloatKvRun* runs, int num_runs, const float* q,
                  int64_t q_stride, int num_queries, int first_visible, float* out,
                  int64_t out_stride) {
  for (int i = 0; i < num_queries; ++i) {
    for (int h = 0; h < shape.group_size; ++h) {
      const int64_t head = int64_t{h} * shape.head_dim;
      AttendRow(shape, runs, num_runs, q + i * q_stride + head, first_visible + i,
                out + i * out_stride + head);
    }
  }
}

}  // namespace skv::kernels
