#include "kernels/quantised_index.h"

#include "kernels/cpu/packed_format.h"
#include "kernels/denormals.h"
#include "kernels/matmul.h"

namespace skv::kernels {
namespace {

constexpr QuantType kType = QuantType::kQ4_1;
static_assert(FormatOf(kType).GroupElements() == kQuantisedIndexChannels);

}  // namespace

size_t QuantisedIndexBytes(int num_vectors, int width) {
  return PackedMatrixBytes(kType, num_vectors, width);
}

void PackQuantisedVector(const float* vector, int width, int number, std::byte* index) {
  std::byte* group = index + number / kPanelOutputs * PanelBytes(kType, width);
  std::byte block[4 + kQuantisedIndexChannels / 2];
  for (int c = 0; c < width; c += kQuantisedIndexChannels) {
    QuantizeRowQ4_1(vector + c, kQuantisedIndexChannels, block);
    PackOutput(kType, block, kQuantisedIndexChannels, number % kPanelOutputs, group);
    group += FormatOf(kType).GroupBytes();
  }
}

size_t QuantisedQueryBytes(int num_queries, int width) {
  return PackedActivationBytes(kType, num_queries, width);
}

void PackQuantisedQueries(const float* queries, int num_queries, int width, std::byte* packed) {
  const FlushDenormals flush;
  PackActivations(kType, queries, width, num_queries, width, 0, num_queries, packed);
}

void ScoreQuantised(const std::byte* packed, int num_queries, int width, const std::byte* index,
                    int num_vectors, float* scores, int64_t score_stride) {
  const FlushDenormals flush;
  const PackedMatrix vectors = {kType, num_vectors, width, index};
  MatMul(vectors, packed, num_queries, 0, num_queries, 0, num_vectors, scores, score_stride);
}

}  // namespace skv::kernels
