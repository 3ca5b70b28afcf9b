#pragma once

namespace skv::kernels {

// Part of the numerics id. Raised by hand whenever a kernel's result changes by a bit: the
// golden-bits tests keep the expected hash of each revision (docs/arithmetic.md).
inline constexpr int kArithmeticRevision = 3;

}  // namespace skv::kernels
