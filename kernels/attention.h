#pragma once
// Attention of one KV head's query group over an ordered list of attended entries
// (docs/arithmetic.md). The list is cut into groups of kAttentionGroup entries; each group yields a
// state (max, sum, o), and states are merged in list order. Hence a query row's bits depend only on
// the query and on the list up to what it sees: not on how queries are tiled, nor on where runs
// (blocks, pages) begin and end, nor on which thread computed which group. Functions are
// thread-safe and never allocate.

#include <cstddef>
#include <cstdint>

namespace skv::kernels {

inline constexpr int kAttentionGroup = 128;

using Bf16 = uint16_t;  // the upper half of a float32, rounded to nearest even

// Consecutive entries of the list that lie together: k and v are [num_rows, head_dim], rows
// contiguous.
struct KvRun {
  const Bf16* k;
  const Bf16* v;
  int num_rows;
};

struct AttentionShape {
  int head_dim;    // a multiple of 32, at most 256
  int group_size;  // query heads of this KV head, 1..16
  float scale;     // 1/sqrt(head_dim)
};

// Floats of one group's state for the whole query group: per query head max, sum, o[head_dim],
// padded.
int AttentionStateFloats(const AttentionShape& shape);
// Bytes of scratch that the calls below need, per thread.
size_t AttentionScratchBytes(const AttentionShape& shape);

// Prefill: `num_queries` consecutive queries of one sequence; query i sees the first
// `first_visible + i` entries of the list (first_visible >= 1).
//   runs   cover at least first_visible + num_queries - 1 entries
//   q      query i, head h of the group at q + i * q_stride + h * head_dim (float32, rotated)
//   out    same addressing with out_stride; may not overlap q
//   scratch  64-byte aligned, AttentionScratchBytes(shape)
void AttendPrefill(const AttentionShape& shape, const KvRun* runs, int num_runs, const float* q,
                   int64_t q_stride, int num_queries, int first_visible, float* out,
                   int64_t out_stride, std::byte* scratch);

// Decode, first half: the states of groups [group_begin, group_end) for one query that sees the
// first `num_visible` entries; states[g] is written at states + (g - group_begin) *
// AttentionStateFloats.
void AttendGroups(const AttentionShape& shape, const KvRun* runs, int num_runs, const float* q,
                  int num_visible, int group_begin, int group_end, float* states,
                  std::byte* scratch);

// Decode, second half: merges `num_groups` states in order and normalises.
//   out   [group_size, head_dim]
void MergeGroups(const AttentionShape& shape, const float* states, int num_groups, float* out);

// scores[r, i] = query r . key i of the list, in float32 throughout: what selections rank by.
//   queries [num_queries, head_dim], head_dim as in AttentionShape
//   scores  [num_queries, entries of the runs], score_stride in floats
void ScoreKeys(const float* queries, int num_queries, int head_dim, const KvRun* runs, int num_runs,
               float* scores, int64_t score_stride);

// dst[i] = src[i] rounded to nearest even, denormals to zero, NaN to NaN: what the KV cache stores.
void ConvertToBf16(const float* src, int64_t count, Bf16* dst);
// dst[i] = src[i], exactly.
void ConvertFromBf16(const Bf16* src, int64_t count, float* dst);

}  // namespace skv::kernels
