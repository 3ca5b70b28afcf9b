#include "worker/policy/sentence_index.h"

#include <algorithm>

#include "kernels/quantised_index.h"

namespace skv::policy {

SentenceIndex::SentenceIndex(Digest digest, int head_dim) : digest_(digest), head_dim_(head_dim) {}

int SentenceIndex::width() const {
  constexpr int kUnit = kernels::kQuantisedIndexChannels;
  return (DigestWidth(digest_, head_dim_) + kUnit - 1) / kUnit * kUnit;
}

void SentenceIndex::Add(PositionRange tokens, const float* keys) {
  std::vector<float> digest(width(), 0.0f);
  MakeDigest(digest_, keys, tokens.end - tokens.begin, head_dim_, digest.data());
  vectors_.resize(kernels::QuantisedIndexBytes(size() + 1, width()));
  kernels::PackQuantisedVector(digest.data(), width(), size(), vectors_.data());
  tokens_.push_back(tokens);
}

void SentenceIndex::Score(const std::byte* queries, int num_queries, float* scores,
                          int64_t score_stride) const {
  kernels::ScoreQuantised(queries, num_queries, width(), vectors(), size(), scores, score_stride);
}

size_t SentenceIndex::vector_bytes() const { return kernels::QuantisedIndexBytes(size(), width()); }

void SentenceIndex::MoveVectors(std::byte* memory) {
  std::copy_n(vectors(), vector_bytes(), memory);
  moved_ = memory;
  vectors_ = std::vector<std::byte>();  // {} would keep the memory
}

void SentenceIndex::ShrinkToFit() {
  tokens_.shrink_to_fit();
  vectors_.shrink_to_fit();
}

size_t SentenceIndex::size_bytes() const {
  return tokens_.capacity() * sizeof(PositionRange) + vectors_.capacity() +
         (moved_ == nullptr ? 0 : vector_bytes());
}

}  // namespace skv::policy
