#include "kernels/key_sketch.h"

#include "kernels/cpu/key_sketch_kernels.h"
#include "kernels/denormals.h"

namespace skv::kernels {
namespace {

const KeySketchKernels& Active() {
  static const KeySketchKernels& kernels = KeySketchKernelsFor(ActiveIsa());
  return kernels;
}

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
  kernels.score(packed, num_queries, head_dim, runs, num_runs, scores, score_stride);
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
