// Scores of sketches in plain C++, one at a time: what the vector paths must equal bit by bit.

#include <cmath>
#include <cstring>

#include "kernels/cpu/key_sketch_kernels.h"
#include "kernels/cpu/key_sketch_pack_body.h"

namespace skv::kernels {
namespace {

float Score(const std::byte* query, const std::byte* sketch, int head_dim) {
  int32_t dot = 0;
  for (int chunk = 0; chunk < SketchChunks(head_dim); ++chunk) {
    for (int i = 0; i < kSketchCodeBytes; ++i) {
      const int codes = static_cast<int>(sketch[i]);
      dot += (codes & 15) * static_cast<int8_t>(query[i]);
      dot += (codes >> 4) * static_cast<int8_t>(query[i + kSketchCodeBytes]);
    }
    query += kSketchChannels;
    sketch += kSketchCodeBytes;
  }
  SketchQueryScale of_query;
  std::memcpy(&of_query, query, sizeof(of_query));
  SketchScale of_key;
  std::memcpy(&of_key, sketch, sizeof(of_key));
  return of_query.scale * std::fma(Widened(of_key.step), static_cast<float>(dot),
                                   Widened(of_key.minimum) * of_query.sum);
}

void ScoreRuns(const std::byte* packed, int num_queries, int head_dim, const SketchRun* runs,
               int num_runs, float* scores, int64_t score_stride) {
  for (int i = 0; i < num_runs; ++i) {
    for (int key = 0; key < runs[i].num_keys; ++key, ++scores) {
      const std::byte* const sketch = runs[i].sketches + key * KeySketchBytes(head_dim);
      for (int r = 0; r < num_queries; ++r) {
        scores[r * score_stride] =
            Score(packed + r * SketchQueryStride(head_dim), sketch, head_dim);
      }
    }
  }
}

}  // namespace

const KeySketchKernels kKeySketchScalar = {MakeSketch, PackQuery, ScoreRuns};

}  // namespace skv::kernels
