#include "worker/policy/testing/random_sequence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <random>
#include <vector>

#include "kernels/attention.h"

namespace skv::policy {
namespace {

float CutToBf16(float value) {
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xffff0000u);
}

// Near a normal distribution of deviation 1, the same with every standard library.
float RandomNormal(std::mt19937& random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += random() * 0x1p-32;
  return static_cast<float>(sum);
}

void AppendRandomSentences(int max_sentence, int num_tokens, std::mt19937& random,
                           std::vector<Sentence>* sentences) {
  int begin = sentences->empty() ? 0 : sentences->back().end;
  while (true) {
    const int end = begin + 1 + static_cast<int>(random() % max_sentence);
    const int known_at = end - 1 + static_cast<int>(random() % 2);
    if (known_at >= num_tokens) return;
    sentences->push_back({begin, end, known_at});
    begin = end;
  }
}

}  // namespace

std::vector<Sentence> TestSequence::SentencesKnownBefore(int num_tokens) const {
  std::vector<Sentence> known;
  for (const Sentence& sentence : sentences) {
    if (sentence.known_at < num_tokens) known.push_back(sentence);
  }
  return known;
}

TestSequence MakeRandomSequence(const RandomSequenceOptions& options, uint32_t seed) {
  std::mt19937 random(seed);
  const SequenceShape& shape = options.shape;
  TestSequence sequence = {shape, options.num_tokens, {}, {}, {}};
  const int64_t rows = sequence.HeadRow(shape.num_layers, 0);
  sequence.keys.resize(rows * shape.head_dim, 1.0f);
  sequence.queries.resize(rows * shape.group_size * shape.head_dim, 1.0f);
  if (!options.all_equal) {
    for (float& x : sequence.keys) x = CutToBf16(RandomNormal(random));
    for (float& x : sequence.queries) x = RandomNormal(random) * 2;
  }
  AppendRandomSentences(options.max_sentence, options.num_tokens, random, &sequence.sentences);
  return sequence;
}

TestSequence MakeRandomContinuation(const TestSequence& sequence, int num_tokens, uint32_t seed) {
  std::mt19937 random(seed);
  const SequenceShape& shape = sequence.shape;
  TestSequence other = MakeRandomSequence({shape, num_tokens}, seed);
  for (int layer = 0; layer < shape.num_layers; ++layer) {
    for (int h = 0; h < shape.num_kv_heads; ++h) {
      std::copy_n(sequence.Key(layer, h, 0), int64_t{shape.num_prompt_tokens} * shape.head_dim,
                  other.keys.begin() + (other.Key(layer, h, 0) - other.keys.data()));
      std::copy_n(sequence.Query(layer, h, 0),
                  int64_t{shape.num_prompt_tokens} * shape.group_size * shape.head_dim,
                  other.queries.begin() + (other.Query(layer, h, 0) - other.queries.data()));
    }
  }
  other.sentences = sequence.SentencesKnownBefore(shape.num_prompt_tokens);
  // A sentence that ends later begins where the prompt's end leaves off.
  std::vector<Sentence> more = other.sentences;
  AppendRandomSentences(/*max_sentence=*/40, num_tokens, random, &more);
  for (const Sentence& sentence : more) {
    if (sentence.known_at < shape.num_prompt_tokens) continue;
    const int begin = other.sentences.empty() ? 0 : other.sentences.back().end;
    other.sentences.push_back({begin, sentence.end, sentence.known_at});
  }
  return other;
}

void FakeKv::ReadKeys(int begin, int end, float* rows) const {
  ASSERT_LE(0, begin);
  ASSERT_LT(begin, end);
  ASSERT_LE(end, num_written_);
  std::copy_n(sequence_->Key(layer_, kv_head_, begin),
              int64_t{end - begin} * sequence_->shape.head_dim, rows);
}

void FakeKv::ScoreKeys(const float* queries, int num_queries, std::span<const PositionRange> ranges,
                       float* scores, int64_t score_stride) const {
  const int head_dim = sequence_->shape.head_dim;
  for (const PositionRange& range : ranges) {
    ASSERT_LE(0, range.begin);
    ASSERT_LT(range.begin, range.end);
    ASSERT_LE(range.end, num_written_);
    const int num_rows = range.end - range.begin;
    std::vector<kernels::Bf16> keys(int64_t{num_rows} * head_dim);
    kernels::ConvertToBf16(sequence_->Key(layer_, kv_head_, range.begin),
                           static_cast<int64_t>(keys.size()), keys.data());
    const kernels::KvRun run = {keys.data(), /*v=*/keys.data(), num_rows};
    kernels::ScoreKeys(queries, num_queries, head_dim, &run, 1, scores, score_stride);
    scores += num_rows;
  }
}

void FakeKv::ReadValues(int, int, float*) const { FAIL() << "no policy reads values"; }

}  // namespace skv::policy
