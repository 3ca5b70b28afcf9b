#pragma once
// What the ISA files of attention share with the code that walks lists and tiles (attention.cc).

#include <cstdint>

#include "kernels/attention.h"
#include "kernels/cpu/dispatch.h"

namespace skv::kernels {

inline constexpr float kLog2E = 1.44269504088896341f;
// Below every score that is worth anything, and finite: the max of a group whose scores are all
// -inf.
inline constexpr float kLowestScore = -3.40282347e38f;
inline constexpr uint32_t kBf16OnePair = 0x3f803f80u;
// 2^r = 1 + C1 r + C2 r^2 + C3 r^3 + C4 r^4 on [-1/2, 1/2], minimax relative error 2.8e-6.
inline constexpr float kExp2C1 = 0.693124175f;
inline constexpr float kExp2C2 = 0.240240991f;
inline constexpr float kExp2C3 = 0.0559064262f;
inline constexpr float kExp2C4 = 0.00958285294f;
// A head's state is max, sum, padding up to a vector, o[head_dim].
inline constexpr int kStateHeader = 16;
inline constexpr int kMaxHeadDim = 256;

// The rows of one group: those past the list's end are a row of zeros.
struct GroupRows {
  const Bf16* k[kAttentionGroup];
  const Bf16* v[kAttentionGroup];
};

// A thread's scratch, cut into 64-byte aligned arrays. `rows` are queries of one head each.
struct AttentionScratch {
  GroupRows* groups;  // [2]: the current one and the next
  // In words: bf16 pairs or the two floats of each, as the path likes (cpu/attention_operands.h).
  uint32_t* keys;           // [head_dim / 2][128] pairs, of channels
  uint32_t* values;         // [64][head_dim] pairs, of keys
  uint32_t* q;              // [rows][head_dim / 2] pairs
  uint32_t* probabilities;  // [rows][64] pairs
  float* scores;            // [register tile][128]
  float* o;                 // [rows][head_dim]
  int* visible;  // [rows]: entries of the current group that the row sees, not decreasing
  float* max;    // [rows] and so on: the merged state,
  float* sum;
  float* group_max;  // the current group's state,
  float* group_sum;
  float* keep;  // and the factors of the merged and of the current o
  float* add;
};

// One ISA's kernels.
struct AttentionPath {
  // Queries to bf16 with scale * log2(e) folded in: AttentionScratch::q.
  void (*pack_queries)(const AttentionShape& shape, const float* q, int64_t q_stride,
                       int num_queries, uint32_t* packed);
  // A group's rows to the order that the tiles read (AttentionScratch::keys, values).
  void (*pack_group)(const AttentionShape& shape, const GroupRows& rows, uint32_t* keys,
                     uint32_t* values);
  // The packed group against rows [row_begin, row_end), each of which sees at least one entry;
  // `first` overwrites the merged state, else the group is merged into it.
  void (*attend_group)(const AttentionShape& shape, const AttentionScratch& scratch, int row_begin,
                       int row_end, bool first);
  // One query (rows [0, group_size), which all see the same) against the group of `rows`,
  // overwriting the state, while the rows of `next` (may be null) are asked for from memory.
  void (*attend_one)(const AttentionShape& shape, const AttentionScratch& scratch,
                     const GroupRows& rows, const GroupRows* next);
  // out[head_dim] = o / sum.
  void (*normalise)(const float* o, float sum, int head_dim, float* out);
  // out[head_dim] of one head from its states, `stride` floats apart.
  void (*merge_head)(const float* state, int64_t stride, int num_groups, int head_dim, float* out);
  // out[16] = acc[16] + a . b over 16 pairs: the step that everything above is made of.
  void (*dot_pairs)(const float* acc, const uint32_t* a, const uint32_t* b, float* out);
  // dst[count] = src rounded to bf16.
  void (*round_row)(const float* src, int64_t count, Bf16* dst);
  // dst[count] = src, exactly.
  void (*widen_row)(const Bf16* src, int64_t count, float* dst);
  // scores[r][i] = query r . key i of the first `num_keys` rows, while those of `next` (may be
  // null) are asked for from memory. Queries [num_queries, head_dim] are not rounded.
  void (*score_keys)(const float* queries, int num_queries, int head_dim, const GroupRows& rows,
                     int num_keys, const GroupRows* next, float* scores, int64_t score_stride);
};

const AttentionPath& AttentionScalar();
const AttentionPath& AttentionAvx2();
const AttentionPath& AttentionAvx512();
const AttentionPath& AttentionAvx512Bf16();
const AttentionPath& AttentionPathOf(Isa isa);

// kernels/attention.h on a chosen path.
void AttendPrefill(const AttentionPath& path, const AttentionShape& shape, const KvRun* runs,
                   int num_runs, const float* q, int64_t q_stride, int num_queries,
                   int first_visible, float* out, int64_t out_stride, std::byte* scratch);
void AttendGroups(const AttentionPath& path, const AttentionShape& shape, const KvRun* runs,
                  int num_runs, const float* q, int num_visible, int group_begin, int group_end,
                  float* states, std::byte* scratch);
void MergeGroups(const AttentionPath& path, const AttentionShape& shape, const float* states,
                 int num_groups, float* out);
void ConvertToBf16(const AttentionPath& path, const float* src, int64_t count, Bf16* dst);
void ScoreKeys(const AttentionPath& path, const float* queries, int num_queries, int head_dim,
               const KvRun* runs, int num_runs, float* scores, int64_t score_stride);

}  // namespace skv::kernels
