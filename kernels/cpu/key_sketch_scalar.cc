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

void ScoreRows(const std::byte* packed, int num_queries, int head_dim, const SketchRows& rows,
               const SketchRows* next, float* scores, int64_t score_stride) {
  for (int r = 0; r < num_queries; ++r) {
    const std::byte* const query = packed + r * SketchQueryStride(head_dim);
    for (int i = 0; i < rows.count; ++i) {
      scores[r * score_stride + i] = Score(query, rows.row[i], head_dim);
    }
  }
}

}  // namespace

const KeySketchKernels kKeySketchScalar = {MakeSketch, PackQuery, ScoreRows};

}  // namespace skv::kernels
