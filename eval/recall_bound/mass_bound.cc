#include "eval/recall_bound/mass_bound.h"

#include <algorithm>
#include <cmath>

namespace skv::eval {

KeyDigest DigestOf(const float* keys, int num_keys, int head_dim) {
  KeyDigest digest{.min = {keys, keys + head_dim},
                   .max = {keys, keys + head_dim},
                   .mean = std::vector<float>(head_dim, 0.0f),
                   .radius = 0};
  for (int i = 0; i < num_keys; ++i) {
    const float* const key = keys + i * head_dim;
    for (int c = 0; c < head_dim; ++c) {
      digest.min[c] = std::min(digest.min[c], key[c]);
      digest.max[c] = std::max(digest.max[c], key[c]);
      digest.mean[c] += key[c] / num_keys;
    }
  }
  double farthest2 = 0;
  for (int i = 0; i < num_keys; ++i) {
    double distance2 = 0;
    for (int c = 0; c < head_dim; ++c) {
      distance2 += std::pow(double{keys[i * head_dim + c]} - digest.mean[c], 2);
    }
    farthest2 = std::max(farthest2, distance2);
  }
  digest.radius = static_cast<float>(std::sqrt(farthest2));
  return digest;
}

double BoxBound(const KeyDigest& digest, const float* query) {
  double bound = 0;
  for (size_t c = 0; c < digest.min.size(); ++c) {
    bound += query[c] * double{query[c] > 0 ? digest.max[c] : digest.min[c]};
  }
  return bound / std::sqrt(static_cast<double>(digest.min.size()));
}

double BallBound(const KeyDigest& digest, const float* query) {
  double dot = 0, norm2 = 0;
  for (size_t c = 0; c < digest.mean.size(); ++c) {
    dot += query[c] * double{digest.mean[c]};
    norm2 += query[c] * double{query[c]};
  }
  return (dot + std::sqrt(norm2) * digest.radius) /
         std::sqrt(static_cast<double>(digest.mean.size()));
}

}  // namespace skv::eval
