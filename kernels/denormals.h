#pragma once
// Flushes denormals to zero, inputs and results, in this thread's float arithmetic while it lives:
// what bf16 dot products do in hardware and what docs/arithmetic.md demands of attention on every
// path. Arithmetic that depends on it stands in a function of another source file, where the
// compiler cannot move it across the switch.

#include <xmmintrin.h>

namespace skv::kernels {

class FlushDenormals {
 public:
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | kFlushToZero | kDenormalsAreZero); }
  ~FlushDenormals() { _mm_setcsr(saved_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  static constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
  const unsigned saved_;
};

}  // namespace skv::kernels
