#include "kernels/key_sketch.h"

#include <algorithm>

#include "kernels/cpu/key_sketch_kernels.h"
#include "kernels/denormals.h"

namespace skv::kernels {
namespace {

const KeySketchKernels& Active() {
  static const KeySketchKernels& kernels = KeySketchKernelsFor(ActiveIsa());
  return kernels;
}

// Goes through the rows of the runs in order.
class RowCursor {
 public:
  RowCursor(const SketchRun* runs, int head_dim)
      : run_(runs), row_bytes_(KeySketchBytes(head_dim)) {}

  // Takes the next `count` rows. REQUIRES: 1 <= count <= kSketchGroup, and there are that many.
  void Fill(int count, SketchRows* rows) {
    int i = 0;
    while (i < count) {
      const int n = std::min(count - i, run_->num_keys - taken_);
      const std::byte* row = run_->sketches + taken_ * row_bytes_;
      for (const int end = i + n; i < end; row += row_bytes_) rows->row[i++] = row;
      taken_ += n;
      if (taken_ == run_->num_keys) {
        ++run_;
        taken_ = 0;
      }
    }
    for (; i % kSketchTile != 0; ++i) rows->row[i] = rows->row[i - 1];
    rows->count = count;
  }

 private:
  const SketchRun* run_;
  const size_t row_bytes_;
  int taken_ = 0;  // rows of *run_
};

}  // namespace

const KeySketchKernels& KeySketchKernelsFor(Isa isa) {
  if (isa >= Isa::kAvx512Vnni) return kKeySketchAvx512Vnni;
  return isa >= Isa::kAvx2 ? kKeySketchAvx2 : kKeySketchScalar;
}

void MakeKeySketches(const KeySketchKernels& kernels, const float* keys, int num_keys, int head_dim,
                     std::byte* sketches) {
  const FlushDenormals flush;
  const size_t bytes = KeySketchBytes(head_dim);
  for (int i = 0; i < num_keys; ++i) {
    kernels.make(keys + int64_t{i} * head_dim, head_dim, sketches + i * bytes);
  }
}

void PackSketchQueries(const KeySketchKernels& kernels, const float* queries, int num_queries,
                       int head_dim, std::byte* packed) {
  const FlushDenormals flush;
  const size_t stride = SketchQueryStride(head_dim);
  for (int r = 0; r < num_queries; ++r) {
    kernels.pack_query(queries + int64_t{r} * head_dim, head_dim, packed + r * stride);
  }
}

void ScoreSketches(const KeySketchKernels& kernels, const std::byte* packed, int num_queries,
                   int head_dim, const SketchRun* runs, int num_runs, float* scores,
                   int64_t score_stride) {
  const FlushDenormals flush;
  int64_t num_keys = 0;
  for (int i = 0; i < num_runs; ++i) num_keys += runs[i].num_keys;
  const auto count = [&](int64_t begin) {
    return static_cast<int>(std::min<int64_t>(kSketchGroup, num_keys - begin));
  };
  RowCursor cursor(runs, head_dim);
  SketchRows groups[2];
  if (num_keys > 0) cursor.Fill(count(0), &groups[0]);
  for (int64_t begin = 0; begin < num_keys; begin += kSketchGroup) {
    const int64_t end = begin + kSketchGroup;
    SketchRows* next = end < num_keys ? &groups[end / kSketchGroup % 2] : nullptr;
    if (next != nullptr) cursor.Fill(count(end), next);
    kernels.score(packed, num_queries, head_dim, groups[begin / kSketchGroup % 2], next,
                  scores + begin, score_stride);
  }
}

size_t SketchQueryBytes(int num_queries, int head_dim) {
  return static_cast<size_t>(num_queries) * SketchQueryStride(head_dim);
}

void MakeKeySketches(const float* keys, int num_keys, int head_dim, std::byte* sketches) {
  MakeKeySketches(Active(), keys, num_keys, head_dim, sketches);
}

void PackSketchQueries(const float* queries, int num_queries, int head_dim, std::byte* packed) {
  PackSketchQueries(Active(), queries, num_queries, head_dim, packed);
}

void ScoreSketches(const std::byte* packed, int num_queries, int head_dim, const SketchRun* runs,
                   int num_runs, float* scores, int64_t score_stride) {
  ScoreSketches(Active(), packed, num_queries, head_dim, runs, num_runs, scores, score_stride);
}

}  // namespace skv::kernels
