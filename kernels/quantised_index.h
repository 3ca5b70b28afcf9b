#pragma once
// An index of vectors in 4 bits, a third of the bytes of the one in kernels/selection.h: for scores
// whose price is reading and keeping it. It is a matrix of quantised outputs, one a vector, and a
// score is a product with 16-bit activations (docs/arithmetic.md, "Products with quantised
// weights"), so every path yields the same bits and a score depends on its query and its vector
// alone. Functions are thread-safe and never allocate.
//
// Every 32 channels of a vector have a minimum and a step of their own (Q4_1): an outlier costs
// precision only there.

#include <cstddef>
#include <cstdint>

namespace skv::kernels {

// Channels of indexed vectors: a multiple of this. Zeros may fill them up.
inline constexpr int kQuantisedIndexChannels = 32;

// Bytes of an index of `num_vectors` vectors of `width` channels.
size_t QuantisedIndexBytes(int num_vectors, int width);

// Quantises vector [width] and puts it at `number`. Other vectors keep their values.
void PackQuantisedVector(const float* vector, int width, int number, std::byte* index);

// Queries [num_queries, width] in the form that scores read.
//   packed [QuantisedQueryBytes(num_queries, width)]
size_t QuantisedQueryBytes(int num_queries, int width);
void PackQuantisedQueries(const float* queries, int num_queries, int width, std::byte* packed);

// scores[r, i] = query r . vector i.
//   packed  from PackQuantisedQueries
//   index   [QuantisedIndexBytes(num_vectors, width)]
//   scores  [num_queries, num_vectors], score_stride in floats
void ScoreQuantised(const std::byte* packed, int num_queries, int width, const std::byte* index,
                    int num_vectors, float* scores, int64_t score_stride);

}  // namespace skv::kernels
