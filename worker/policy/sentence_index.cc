#include "worker/policy/sentence_index.h"

#include "kernels/selection.h"

namespace skv::policy {

SentenceIndex::SentenceIndex(Digest digest, int head_dim) : digest_(digest), head_dim_(head_dim) {}

void SentenceIndex::Add(PositionRange tokens, const float* keys) {
  const int width = DigestWidth(digest_, head_dim_);
  std::vector<float> digest(width);
  MakeDigest(digest_, keys, tokens.end - tokens.begin, head_dim_, digest.data());
  vectors_.resize(kernels::IndexWords(size() + 1, width));
  kernels::PackIndexVector(digest.data(), width, size(), vectors_.data());
  tokens_.push_back(tokens);
}

void SentenceIndex::Score(const std::vector<float>& forms, int num_queries, float* scores,
                          int64_t score_stride) const {
  const int width = DigestWidth(digest_, head_dim_);
  kernels::ScoreVectors(forms.data(), width, num_queries, width, vectors_.data(), size(), scores,
                        score_stride);
}

void SentenceIndex::ShrinkToFit() {
  tokens_.shrink_to_fit();
  vectors_.shrink_to_fit();
}

size_t SentenceIndex::size_bytes() const {
  return tokens_.capacity() * sizeof(PositionRange) + vectors_.capacity() * sizeof(uint32_t);
}

}  // namespace skv::policy
