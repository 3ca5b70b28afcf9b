#pragma once

#include <array>
#include <cstddef>

namespace skv::router {

// How often each kind of a thing was seen; the values of `Kind` are 0 to `kNumKinds` - 1.
template <typename Kind, size_t kNumKinds>
class KindCounts {
 public:
  void Add(Kind kind) { ++counts_[static_cast<size_t>(kind)]; }
  int of(Kind kind) const { return counts_[static_cast<size_t>(kind)]; }
  int total() const {
    int sum = 0;
    for (const int count : counts_) sum += count;
    return sum;
  }

 private:
  std::array<int, kNumKinds> counts_{};
};

}  // namespace skv::router
