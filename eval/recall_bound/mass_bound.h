#pragma once
// How much attention mass tokens can have at most, as told by a digest of their keys alone. Pure.

#include <vector>

namespace skv::eval {

// Of the keys of a run of tokens.
struct KeyDigest {
  std::vector<float> min, max;  // the box around them, by channel
  std::vector<float> mean;
  float radius;  // distance of the farthest key from the mean
};

// `keys` [num_keys, head_dim], num_keys >= 1.
KeyDigest DigestOf(const float* keys, int num_keys, int head_dim);

// No key of the run has a larger score query . key / sqrt(head_dim).
//   box   Quest's (arXiv 2406.10774): each channel at its own end of the box
//   ball  Cauchy and Schwarz: the mean, and |query| * radius
double BoxBound(const KeyDigest& digest, const float* query);
double BallBound(const KeyDigest& digest, const float* query);

}  // namespace skv::eval
