#pragma once
// Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (OOPSLA 2014). The same
// numbers on every machine and library, which the standard distributions do not promise.

#include <cstdint>

namespace skv::loader {

class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    state_ += 0x9E3779B97F4A7C15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

  // Uniform with mean 0 and standard deviation 1: in [-sqrt(3), sqrt(3)).
  float NextUnitSpread() {
    return (static_cast<float>(Next() >> 40) * 0x1p-23f - 1.0f) * 1.7320508f;
  }

 private:
  uint64_t state_;
};

}  // namespace skv::loader
