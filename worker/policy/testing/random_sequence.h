#pragma once
// A sequence for policy tests: keys, queries and sentences of some layers and KV heads, as plain
// arrays, and a KvReader over them.

#include <cstdint>
#include <span>
#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

struct TestSequence {
  SequenceShape shape;
  int num_tokens;              // prompt and generated
  std::vector<float> keys;     // [layers, kv_heads, num_tokens, head_dim], bf16 values
  std::vector<float> queries;  // [layers, kv_heads, num_tokens, group_size, head_dim]
  std::vector<Sentence> sentences;

  int64_t HeadRow(int layer, int kv_head) const {
    return (int64_t{layer} * shape.num_kv_heads + kv_head) * num_tokens;
  }
  const float* Key(int layer, int kv_head, int position) const {
    return keys.data() + (HeadRow(layer, kv_head) + position) * shape.head_dim;
  }
  const float* Query(int layer, int kv_head, int position) const {
    return queries.data() +
           (HeadRow(layer, kv_head) + position) * shape.group_size * shape.head_dim;
  }
  // Those that the tokens before `num_tokens` prove.
  std::vector<Sentence> SentencesKnownBefore(int num_tokens) const;
};

struct RandomSequenceOptions {
  SequenceShape shape;
  int num_tokens = 0;
  int max_sentence = 40;
  bool all_equal = false;  // keys and queries: every comparison is a tie
};

TestSequence MakeRandomSequence(const RandomSequenceOptions& options, uint32_t seed);

// The same prompt, and the sentences that it proves; otherwise another sequence.
TestSequence MakeRandomContinuation(const TestSequence& sequence, int num_tokens, uint32_t seed);

// Fails the test when something that is not written yet is read.
class FakeKv : public KvReader {
 public:
  FakeKv(const TestSequence* sequence, int layer, int kv_head, int num_written)
      : sequence_(sequence), layer_(layer), kv_head_(kv_head), num_written_(num_written) {}
  void ReadKeys(int begin, int end, float* rows) const override;
  void ReadValues(int begin, int end, float* rows) const override;
  void ScoreKeys(const float* queries, int num_queries, std::span<const PositionRange> ranges,
                 float* scores, int64_t score_stride) const override;
  void CountSketchBytes(int64_t bytes) const override { sketch_bytes_ += bytes; }
  int64_t sketch_bytes() const { return sketch_bytes_; }

 private:
  mutable int64_t sketch_bytes_ = 0;
  const TestSequence* sequence_;
  int layer_;
  int kv_head_;
  int num_written_;
};

}  // namespace skv::policy
