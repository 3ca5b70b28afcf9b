#pragma once
// The selection operations of one instruction set; internal to kernels/cpu and its tests. All
// tables yield the same bits; kernels/selection.h explains the arguments.

#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/selection.h"

namespace skv::kernels {

struct SelectionKernels {
  void (*score_vectors)(const float* queries, int64_t query_stride, int num_queries, int width,
                        const uint32_t* index, int num_vectors, float* scores,
                        int64_t score_stride);
  void (*weighted_softmax)(const float* weights, int n, float* scores);
  void (*group_mass)(const float* weights, int n, int group_size, float* scores,
                     int64_t score_stride, float* keys);
  void (*group_sum)(int n, int group_size, float* scores, int64_t score_stride, float* mass);
  KeyCut (*find_cut)(const float* keys, const float* weights, int n, float budget);
  int (*entries_from)(const float* keys, int n, float cut, int32_t* numbers);
  void (*mean_of_rows)(const float* rows, int num_rows, int width, float* mean);
  void (*cuboid_of_rows)(const float* rows, int num_rows, int width, float* centre,
                         float* half_width);
};

extern const SelectionKernels kSelectionScalar;
extern const SelectionKernels kSelectionAvx2;
extern const SelectionKernels kSelectionAvx512;

// REQUIRES: isa <= BestIsa().
const SelectionKernels& SelectionKernelsFor(Isa isa);

}  // namespace skv::kernels
