#include "worker/policy/digest.h"

#include <algorithm>
#include <cmath>

#include "kernels/selection.h"

namespace skv::policy {

int DigestWidth(Digest digest, int head_dim) {
  return digest == Digest::kCuboidMean ? 2 * head_dim : head_dim;
}

void MakeDigest(Digest digest, const float* keys, int num_keys, int head_dim, float* vector) {
  if (digest == Digest::kCuboidMean) {
    kernels::CuboidOfRows(keys, num_keys, head_dim, vector, vector + head_dim);
  } else {
    kernels::MeanOfRows(keys, num_keys, head_dim, vector);
  }
}

void MakeQueryForm(Digest digest, const float* query, int head_dim, float* form) {
  std::copy_n(query, head_dim, form);
  if (digest != Digest::kCuboidMean) return;
  for (int c = 0; c < head_dim; ++c) form[head_dim + c] = std::fabs(query[c]);
}

}  // namespace skv::policy
