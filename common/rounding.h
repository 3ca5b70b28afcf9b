#pragma once

#include <concepts>

namespace skv {

// a / b rounded up. REQUIRES: a >= 0, b > 0, and a + b fits.
template <std::integral T>
constexpr T CeilDiv(T a, T b) {
  return (a + b - 1) / b;
}

// The least multiple of `multiple` that is >= value. REQUIRES: as CeilDiv.
template <std::integral T>
constexpr T RoundUp(T value, T multiple) {
  return CeilDiv(value, multiple) * multiple;
}

}  // namespace skv
