#pragma once
// Memory that is read from end to end again and again: in huge pages, where the kernel has them,
// since half the time of such a read is looking up small ones. Committed when first written.
// Move-only.

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace skv {

class HugeBytes {
 public:
  HugeBytes() = default;
  // `size` bytes from a cache line's start on, uninitialised; data() is null when there is no
  // memory or size is 0.
  explicit HugeBytes(size_t size);

  std::byte* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  std::unique_ptr<std::byte, Free> data_;
};

}  // namespace skv
