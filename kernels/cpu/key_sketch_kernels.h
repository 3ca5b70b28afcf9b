#pragma once
// Key sketches of one instruction set; internal to kernels/cpu and its tests. All tables yield the
// same bits; kernels/key_sketch.h explains the arguments.

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/key_sketch.h"

namespace skv::kernels {

// Channels whose codes lie together.
inline constexpr int kSketchChannels = 64;
inline constexpr int kSketchCodeBytes = kSketchChannels / 2;

inline int SketchChunks(int head_dim) { return (head_dim + kSketchChannels - 1) / kSketchChannels; }

// A packed query: int8 channels in order, zeros up to whole chunks, then these.
struct SketchQueryScale {
  float scale;
  float sum;  // of the int8 channels
};

inline size_t SketchQueryStride(int head_dim) {
  return static_cast<size_t>(SketchChunks(head_dim)) * kSketchChannels + sizeof(SketchQueryScale);
}

struct KeySketchKernels {
  void (*make)(const float* key, int head_dim, std::byte* sketch);
  void (*pack_query)(const float* query, int head_dim, std::byte* packed);
  void (*score)(const std::byte* packed, int num_queries, int head_dim, const SketchRun* runs,
                int num_runs, float* scores, int64_t score_stride);
};

extern const KeySketchKernels kKeySketchScalar;
extern const KeySketchKernels kKeySketchAvx2;
extern const KeySketchKernels kKeySketchAvx512Vnni;

// REQUIRES: isa <= BestIsa().
const KeySketchKernels& KeySketchKernelsFor(Isa isa);

// kernels/key_sketch.h with a chosen table.
void MakeKeySketches(const KeySketchKernels& kernels, const float* keys, int num_keys, int head_dim,
                     std::byte* sketches);
void PackSketchQueries(const KeySketchKernels& kernels, const float* queries, int num_queries,
                       int head_dim, std::byte* packed);
void ScoreSketches(const KeySketchKernels& kernels, const std::byte* packed, int num_queries,
                   int head_dim, const SketchRun* runs, int num_runs, float* scores,
                   int64_t score_stride);

}  // namespace skv::kernels
