#pragma once
// Sketches of keys: a key (one token, one KV head) in 4 bits a channel, which a selection reads
// instead of the bf16 key to rank tokens: 36 bytes instead of 128 for 64 channels
// (docs/arithmetic.md, "Selection"). Every path yields the same bits. A score depends on its query
// and its key alone, not on what stands beside them nor on where runs are cut. Functions are
// thread-safe and never allocate. Nothing need be aligned.
//
// A sketch is, for each 64 channels, 32 bytes of codes: byte j holds channel j in its low nibble
// and channel j + 32 in its high one, zero codes where there is no such channel; then the bf16 step
// and the bf16 minimum, which all channels share. A channel is about minimum + step * code.
//
// A key with a channel that is NaN or infinite, or with a range beyond float32, has a sketch whose
// scores are all NaN. So have all keys against a query with a NaN or inf. Where a score lies beyond
// float32 it is infinite or NaN.

#include <cstddef>
#include <cstdint>

namespace skv::kernels {

// Bytes of a sketch of `head_dim` channels: 1..512.
inline size_t KeySketchBytes(int head_dim) {
  return (static_cast<size_t>(head_dim) + 63) / 64 * 32 + 2 * sizeof(uint16_t);
}

// keys [num_keys, head_dim] -> sketches [num_keys, KeySketchBytes(head_dim)]
void MakeKeySketches(const float* keys, int num_keys, int head_dim, std::byte* sketches);

// Queries [num_queries, head_dim] in the form that scores read: 8 bits a channel.
//   packed [SketchQueryBytes(num_queries, head_dim)]
size_t SketchQueryBytes(int num_queries, int head_dim);
void PackSketchQueries(const float* queries, int num_queries, int head_dim, std::byte* packed);

// Consecutive keys of a list whose sketches lie together; num_keys >= 0.
struct SketchRun {
  const std::byte* sketches;
  int num_keys;
};

// scores[r, i] = about query r . key i of the runs, in order. Of a run its bytes alone are read.
//   packed  from PackSketchQueries
//   scores  [num_queries, keys of all runs], score_stride in floats
void ScoreSketches(const std::byte* packed, int num_queries, int head_dim, const SketchRun* runs,
                   int num_runs, float* scores, int64_t score_stride);

}  // namespace skv::kernels
