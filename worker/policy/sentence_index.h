#pragma once
// The digests of the sentences of one layer and KV head, in order of position, as bf16 vectors that
// are scored 16 at a time. Const calls are thread-safe.

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

  // scores[h, i] = how much query h wants sentence i.
  //   forms  [num_queries, DigestWidth]: MakeQueryForm of each
  //   scores [num_queries, size()], score_stride in floats
  void Score(const std::vector<float>& forms, int num_queries, float* scores,
             int64_t score_stride) const;

  // Gives memory back that further sentences would take.
  void ShrinkToFit();
  size_t size_bytes() const;

 private:
  Digest digest_;
  int head_dim_;
  std::vector<PositionRange> tokens_;
  std::vector<uint32_t> vectors_;  // kernels/selection.h
};

}  // namespace skv::policy
