#include "worker/policy/largest_scores.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace skv::policy {

std::vector<int32_t> LargestScores(const std::vector<float>& scores, int count) {
  // The bits of floats that are not negative grow as they do; as integers a NaN has an order too.
  const auto key = [&](int32_t i) { return std::bit_cast<uint32_t>(scores[i]); };
  std::vector<int32_t> positions(scores.size());
  std::iota(positions.begin(), positions.end(), 0);
  std::nth_element(
      positions.begin(), positions.begin() + count, positions.end(),
      [&](int32_t a, int32_t b) { return key(a) != key(b) ? key(a) > key(b) : a < b; });
  positions.resize(count);
  std::sort(positions.begin(), positions.end());
  return positions;
}

}  // namespace skv::policy
