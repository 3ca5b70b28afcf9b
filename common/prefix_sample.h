#pragma once
// Which sentences of a chain stand for it where not every one can be named: the first ones, by
// which short prompts are told apart, and then one in eight. A store tells those who follow it of
// these and of tips of chains; a router counts on these and on the last of a prompt. So it hears of
// the loss of what it counts on.

#include <cstdint>

namespace skv {

inline constexpr uint32_t kDensePrefixes = 8;
inline constexpr uint32_t kPrefixStride = 8;

// `depth`: sentences before it in its chain.
constexpr bool IsSampledPrefix(uint64_t depth, uint64_t stride = kPrefixStride) {
  return depth < kDensePrefixes || depth % stride == 0;
}

}  // namespace skv
