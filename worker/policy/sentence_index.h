#pragma once
// The digests of the sentences of one layer and KV head, in order of position, in 4 bits
// (kernels/quantised_index.h). Const calls are thread-safe.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "worker/policy/digest.h"
#include "worker/policy/kv_policy.h"

namespace skv::policy {

class SentenceIndex {
 public:
  SentenceIndex(Digest digest, int head_dim);

  // A sentence after all others: its `tokens` (numbers of KeptTokens, not empty) and their keys
  // [tokens.end - tokens.begin, head_dim].
  void Add(PositionRange tokens, const float* keys);

  int size() const { return static_cast<int>(tokens_.size()); }
  const std::vector<PositionRange>& tokens() const { return tokens_; }

  // Channels of the indexed vectors: those of a digest, and zeros.
  int width() const;

  // scores[h, i] = how much query h wants sentence i.
  //   queries  kernels::PackQuantisedQueries of forms [num_queries, width()]: MakeQueryForm of each
  //   scores   [num_queries, size()], score_stride in floats
  void Score(const std::byte* queries, int num_queries, float* scores, int64_t score_stride) const;

  // Gives memory back that further sentences would take.
  void ShrinkToFit();
  size_t size_bytes() const;

  // Bytes of the vectors, and where to keep them from now on: `memory` outlives the index and its
  // copies. No Add afterwards.
  size_t vector_bytes() const;
  void MoveVectors(std::byte* memory);

 private:
  const std::byte* vectors() const { return moved_ == nullptr ? vectors_.data() : moved_; }

  Digest digest_;
  int head_dim_;
  std::vector<PositionRange> tokens_;
  std::vector<std::byte> vectors_;  // kernels/quantised_index.h
  const std::byte* moved_ = nullptr;
};

}  // namespace skv::policy
