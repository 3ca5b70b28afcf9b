#pragma once
// The tokens that get most.

#include <cstdint>
#include <vector>

namespace skv::policy {

// The positions of the `count` largest scores, sorted; equal ones: the smaller position first.
//   scores  not negative
//   REQUIRES: 0 <= count <= scores.size()
std::vector<int32_t> LargestScores(const std::vector<float>& scores, int count);

}  // namespace skv::policy
