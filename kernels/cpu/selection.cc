#include "kernels/selection.h"

#include <algorithm>

#include "kernels/attention.h"
#include "kernels/cpu/selection_kernels.h"
#include "kernels/denormals.h"

namespace skv::kernels {
namespace {

const SelectionKernels& Active() {
  static const SelectionKernels& kernels = SelectionKernelsFor(ActiveIsa());
  return kernels;
}

}  // namespace

const SelectionKernels& SelectionKernelsFor(Isa isa) {
  if (isa >= Isa::kAvx512) return kSelectionAvx512;
  return isa == Isa::kAvx2 ? kSelectionAvx2 : kSelectionScalar;
}

void PackIndexVector(const float* vector, int width, int number, uint32_t* index) {
  const int lane = number % kIndexBlockVectors;
  uint32_t* const block = index + IndexWords(number - lane, width);
  constexpr int kPiece = 64;
  Bf16 rounded[kPiece];
  for (int c = 0; c < width; c += kPiece) {
    const int count = std::min(kPiece, width - c);
    ConvertToBf16(vector + c, count, rounded);
    for (int i = 0; i < count; i += 2) {
      block[(c + i) / 2 * kIndexBlockVectors + lane] = rounded[i] | uint32_t{rounded[i + 1]} << 16;
    }
  }
}

void ScoreVectors(const float* queries, int64_t query_stride, int num_queries, int width,
                  const uint32_t* index, int num_vectors, float* scores, int64_t score_stride) {
  const FlushDenormals flush;
  Active().score_vectors(queries, query_stride, num_queries, width, index, num_vectors, scores,
                         score_stride);
}

void WeightedSoftmax(const float* weights, int n, float* scores) {
  const FlushDenormals flush;
  Active().weighted_softmax(weights, n, scores);
}

void GroupMass(const float* weights, int n, int group_size, float* scores, int64_t score_stride,
               float* keys) {
  const FlushDenormals flush;
  Active().group_mass(weights, n, group_size, scores, score_stride, keys);
}

void GroupSum(int n, int group_size, float* scores, int64_t score_stride, float* mass) {
  const FlushDenormals flush;
  Active().group_sum(n, group_size, scores, score_stride, mass);
}

KeyCut FindCut(const float* keys, const float* weights, int n, float budget) {
  const FlushDenormals flush;
  return Active().find_cut(keys, weights, n, budget);
}

int EntriesFrom(const float* keys, int n, float cut, int32_t* numbers) {
  const FlushDenormals flush;
  return Active().entries_from(keys, n, cut, numbers);
}

void MeanOfRows(const float* rows, int num_rows, int width, float* mean) {
  const FlushDenormals flush;
  Active().mean_of_rows(rows, num_rows, width, mean);
}

void CuboidOfRows(const float* rows, int num_rows, int width, float* centre, float* half_width) {
  const FlushDenormals flush;
  Active().cuboid_of_rows(rows, num_rows, width, centre, half_width);
}

}  // namespace skv::kernels
