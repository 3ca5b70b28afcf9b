#pragma once
// The vector that stands for the keys of a sentence, and the query form whose dot product with it
// says how much the query wants the sentence.

namespace skv::policy {

enum class Digest {
  kMean,        // m; score q . m (SentenceKV, arXiv 2504.00970)
  kCuboidMean,  // centre c and mean distance h from it; score q . c + |q| . h (ArkVale)
};

inline constexpr Digest kDefaultDigest = Digest::kCuboidMean;

// Channels of a digest.
int DigestWidth(Digest digest, int head_dim);

// keys [num_keys, head_dim], num_keys >= 1; vector [DigestWidth].
void MakeDigest(Digest digest, const float* keys, int num_keys, int head_dim, float* vector);

// query [head_dim]; form [DigestWidth].
void MakeQueryForm(Digest digest, const float* query, int head_dim, float* form);

}  // namespace skv::policy
