#pragma once

namespace skv {

// a / b rounded up. REQUIRES: a >= 0, b > 0, and a + b fits.
inline constexpr int CeilDiv(int a, int b) { return (a + b - 1) / b; }

}  // namespace skv
