#pragma once
// Truth for attention, in two senses: the mathematics in double precision, and the bits of
// docs/arithmetic.md one scalar operation at a time.

#include <cstdint>

#include "kernels/attention.h"

namespace skv::kernels {

// Consecutive entries of the list in float32: k and v are [num_rows, head_dim], rows contiguous.
struct FloatKvRun {
  const float* k;
  const float* v;
  int num_rows;
};

// Largest head of AttentionRef.
inline constexpr int kMaxRefHeadDim = 512;

// Softmax attention with double sums and double exponentials; shapes as in AttendPrefill, but for
// head_dim: any from 1 to kMaxRefHeadDim.
void AttentionRef(const AttentionShape& shape, const FloatKvRun* runs, int num_runs, const float* q,
                  int64_t q_stride, int num_queries, int first_visible, float* out,
                  int64_t out_stride);

// One query of one head that sees the first `num_visible` entries: the bits that every path must
// give.
//   q, out  [head_dim]
void AttendRowScalar(const AttentionShape& shape, const KvRun* runs, int num_runs, const float* q,
                     int num_visible, float* out);

}  // namespace skv::kernels
