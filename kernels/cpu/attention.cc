#include "kernels/attention.h"

#include <algorithm>

#include "kernels/cpu/attention_paths.h"
#include "kernels/denormals.h"

namespace skv::kernels {
namespace {

// Rows (queries x heads) that share one packing of a group: enough to make the packing cheap, few
// enough that their state (o, q, probabilities: at most 2 KiB a row of 128 channels) stays in L2.
constexpr int kRowsPerTile = 192;
constexpr int kRegisterRows = 8;  // no path's register tile has more
constexpr int kVectorPad = 16;    // whole vectors may be read and written past the last row

alignas(64) constexpr Bf16 kZeroRow[kMaxHeadDim] = {};

int QueriesPerTile(const AttentionShape& shape) {
  return std::max(1, kRowsPerTile / shape.group_size);
}

// Cuts arrays off a piece of memory; without one it only counts.
class ScratchCutter {
 public:
  explicit ScratchCutter(std::byte* base) : base_(base) {}
  template <class T>
  void Cut(T** array, size_t count) {
    if (base_ != nullptr) *array = reinterpret_cast<T*>(base_ + used_);
    used_ += (count * sizeof(T) + 63) / 64 * 64;
  }
  size_t used() const { return used_; }

 private:
  std::byte* const base_;
  size_t used_ = 0;
};

// Returns the bytes used.
size_t CutScratch(const AttentionShape& shape, std::byte* base, AttentionScratch* s) {
  const size_t head_dim = shape.head_dim;
  const size_t rows = QueriesPerTile(shape) * shape.group_size + kVectorPad;
  ScratchCutter cutter(base);
  cutter.Cut(&s->groups, 2);
  cutter.Cut(&s->keys, head_dim * kAttentionGroup);
  cutter.Cut(&s->values, kAttentionGroup * head_dim);
  cutter.Cut(&s->q, rows * head_dim);
  cutter.Cut(&s->probabilities, rows * kAttentionGroup);
  cutter.Cut(&s->scores, kRegisterRows * kAttentionGroup);
  cutter.Cut(&s->o, rows * head_dim);
  cutter.Cut(&s->visible, rows);
  for (float** array : {&s->max, &s->sum, &s->group_max, &s->group_sum, &s->keep, &s->add}) {
    cutter.Cut(array, rows);
  }
  return cutter.used();
}

// Walks a list of runs group by group.
class ListCursor {
 public:
  ListCursor(const KvRun* runs, int num_runs, int head_dim)
      : runs_(runs), num_runs_(num_runs), head_dim_(head_dim) {}

  void Skip(int64_t count) {
    while (count > 0 && run_ < num_runs_) {
      const int64_t here = std::min<int64_t>(count, runs_[run_].num_rows - row_);
      count -= here;
      Advance(static_cast<int>(here));
    }
  }
  // The next `count` entries (at most a group), zero rows after them.
  void Fill(int count, GroupRows* rows) {
    int filled = 0;
    while (filled < count && run_ < num_runs_) {
      const KvRun& run = runs_[run_];
      const int here = std::min(count - filled, run.num_rows - row_);
      for (int i = 0; i < here; ++i) {
        rows->k[filled + i] = run.k + int64_t{row_ + i} * head_dim_;
        rows->v[filled + i] = run.v + int64_t{row_ + i} * head_dim_;
      }
      filled += here;
      Advance(here);
    }
    std::fill(rows->k + filled, rows->k + kAttentionGroup, kZeroRow);
    std::fill(rows->v + filled, rows->v + kAttentionGroup, kZeroRow);
  }

 private:
  void Advance(int count) {
    row_ += count;
    if (row_ == runs_[run_].num_rows) {
      ++run_;
      row_ = 0;
    }
  }

  const KvRun* const runs_;
  const int num_runs_, head_dim_;
  int run_ = 0, row_ = 0;
};

// Queries that share the packing of groups: rows [0, num_queries * group_size).
void AttendTile(const AttentionPath& path, const AttentionShape& shape, const KvRun* runs,
                int num_runs, const float* q, int64_t q_stride, int num_queries, int first_visible,
                float* out, int64_t out_stride, const AttentionScratch& s) {
  const int group_size = shape.group_size, head_dim = shape.head_dim;
  const int num_rows = num_queries * group_size;
  const int num_visible = first_visible + num_queries - 1;
  path.pack_queries(shape, q, q_stride, num_queries, s.q);
  ListCursor cursor(runs, num_runs, head_dim);
  for (int begin = 0; begin < num_visible; begin += kAttentionGroup) {
    cursor.Fill(std::min(kAttentionGroup, num_visible - begin), s.groups);
    path.pack_group(shape, *s.groups, s.keys, s.values);
    for (int row = 0; row < num_rows; ++row) {
      s.visible[row] = std::min(first_visible + row / group_size - begin, kAttentionGroup);
    }
    const int first_query = std::max(0, begin + 1 - first_visible);
    path.attend_group(shape, s, first_query * group_size, num_rows, begin == 0);
  }
  for (int row = 0; row < num_rows; ++row) {
    path.normalise(s.o + int64_t{row} * head_dim, s.sum[row], head_dim,
                   out + row / group_size * out_stride + int64_t{row % group_size} * head_dim);
  }
}

// The first group's values come while its keys are scored.
void AskForValues(const GroupRows& rows, int count, int head_dim) {
  constexpr int kLineElements = 32;
  for (int i = 0; i < count; ++i) {
    for (int c = 0; c < head_dim; c += kLineElements) __builtin_prefetch(rows.v[i] + c, 0, 2);
  }
}

}  // namespace

const AttentionPath& AttentionPathOf(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return AttentionScalar();
    case Isa::kAvx2:
      return AttentionAvx2();
    case Isa::kAvx512:
    case Isa::kAvx512Vnni:
      return AttentionAvx512();
    case Isa::kAvx512Bf16:
      break;
  }
  return AttentionAvx512Bf16();
}

int AttentionStateFloats(const AttentionShape& shape) {
  return shape.group_size * (shape.head_dim + kStateHeader);
}

size_t AttentionScratchBytes(const AttentionShape& shape) {
  AttentionScratch unused;
  return CutScratch(shape, nullptr, &unused);
}

void AttendPrefill(const AttentionPath& path, const AttentionShape& shape, const KvRun* runs,
                   int num_runs, const float* q, int64_t q_stride, int num_queries,
                   int first_visible, float* out, int64_t out_stride, std::byte* scratch) {
  const FlushDenormals flush;
  AttentionScratch s;
  CutScratch(shape, scratch, &s);
  const int step = QueriesPerTile(shape);
  for (int i = 0; i < num_queries; i += step) {
    AttendTile(path, shape, runs, num_runs, q + i * q_stride, q_stride,
               std::min(step, num_queries - i), first_visible + i, out + i * out_stride, out_stride,
               s);
  }
}

void AttendGroups(const AttentionPath& path, const AttentionShape& shape, const KvRun* runs,
                  int num_runs, const float* q, int num_visible, int group_begin, int group_end,
                  float* states, std::byte* scratch) {
  const FlushDenormals flush;
  AttentionScratch s;
  CutScratch(shape, scratch, &s);
  path.pack_queries(shape, q, 0, 1, s.q);
  ListCursor cursor(runs, num_runs, shape.head_dim);
  cursor.Skip(int64_t{group_begin} * kAttentionGroup);
  const auto count = [&](int g) {
    return std::min(kAttentionGroup, num_visible - g * kAttentionGroup);
  };
  cursor.Fill(count(group_begin), &s.groups[group_begin % 2]);
  AskForValues(s.groups[group_begin % 2], count(group_begin), shape.head_dim);
  for (int g = group_begin; g < group_end; ++g) {
    GroupRows* next = g + 1 < group_end ? &s.groups[(g + 1) % 2] : nullptr;
    if (next != nullptr) cursor.Fill(count(g + 1), next);
    std::fill_n(s.visible, shape.group_size, count(g));
    path.attend_one(shape, s, s.groups[g % 2], next);
    for (int h = 0; h < shape.group_size; ++h) {
      float* state = states + int64_t{h} * (shape.head_dim + kStateHeader);
      state[0] = s.max[h];
      state[1] = s.sum[h];
      std::copy_n(s.o + h * shape.head_dim, shape.head_dim, state + kStateHeader);
    }
    states += AttentionStateFloats(shape);
  }
}

void MergeGroups(const AttentionPath& path, const AttentionShape& shape, const float* states,
                 int num_groups, float* out) {
  const FlushDenormals flush;
  for (int h = 0; h < shape.group_size; ++h) {
    path.merge_head(states + int64_t{h} * (shape.head_dim + kStateHeader),
                    AttentionStateFloats(shape), num_groups, shape.head_dim,
                    out + int64_t{h} * shape.head_dim);
  }
}

void ConvertToBf16(const AttentionPath& path, const float* src, int64_t count, Bf16* dst) {
  path.round_row(src, count, dst);
}

void ScoreKeys(const AttentionPath& path, const float* queries, int num_queries, int head_dim,
               const KvRun* runs, int num_runs, float* scores, int64_t score_stride) {
  const FlushDenormals flush;
  int64_t num_keys = 0;
  for (int i = 0; i < num_runs; ++i) num_keys += runs[i].num_rows;
  const auto count = [&](int64_t begin) {
    return static_cast<int>(std::min<int64_t>(kAttentionGroup, num_keys - begin));
  };
  ListCursor cursor(runs, num_runs, head_dim);
  GroupRows groups[2];
  cursor.Fill(count(0), &groups[0]);
  for (int64_t begin = 0; begin < num_keys; begin += kAttentionGroup) {
    const int64_t end = begin + kAttentionGroup;
    GroupRows* next = end < num_keys ? &groups[end / kAttentionGroup % 2] : nullptr;
    if (next != nullptr) cursor.Fill(count(end), next);
    path.score_keys(queries, num_queries, head_dim, groups[begin / kAttentionGroup % 2],
                    count(begin), next, scores + begin, score_stride);
  }
}

void AttendPrefill(const AttentionShape& shape, const KvRun* runs, int num_runs, const float* q,
                   int64_t q_stride, int num_queries, int first_visible, float* out,
                   int64_t out_stride, std::byte* scratch) {
  AttendPrefill(AttentionPathOf(ActiveIsa()), shape, runs, num_runs, q, q_stride, num_queries,
                first_visible, out, out_stride, scratch);
}

void AttendGroups(const AttentionShape& shape, const KvRun* runs, int num_runs, const float* q,
                  int num_visible, int group_begin, int group_end, float* states,
                  std::byte* scratch) {
  AttendGroups(AttentionPathOf(ActiveIsa()), shape, runs, num_runs, q, num_visible, group_begin,
               group_end, states, scratch);
}

void MergeGroups(const AttentionShape& shape, const float* states, int num_groups, float* out) {
  MergeGroups(AttentionPathOf(ActiveIsa()), shape, states, num_groups, out);
}

void ConvertToBf16(const float* src, int64_t count, Bf16* dst) {
  ConvertToBf16(AttentionPathOf(ActiveIsa()), src, count, dst);
}

void ScoreKeys(const float* queries, int num_queries, int head_dim, const KvRun* runs, int num_runs,
               float* scores, int64_t score_stride) {
  ScoreKeys(AttentionPathOf(ActiveIsa()), queries, num_queries, head_dim, runs, num_runs, scores,
            score_stride);
}

void ConvertFromBf16(const Bf16* src, int64_t count, float* dst) {
  AttentionPathOf(ActiveIsa()).widen_row(src, count, dst);
}

}  // namespace skv::kernels
