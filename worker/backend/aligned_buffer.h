#pragma once
// Page-aligned host memory of the host backends.

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "worker/backend/backend.h"

namespace skv::backend {

// Anonymous mapping: zero at first, charged when touched, gone with its owner. Move-only.
class AlignedBytes {
 public:
  AlignedBytes() = default;
  // ResourceExhausted when the mapping is refused.
  static absl::StatusOr<AlignedBytes> Allocate(size_t size);
  ~AlignedBytes();
  AlignedBytes(AlignedBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBytes& operator=(AlignedBytes&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  // Makes size() at least `size`, dropping the content when it grows. Scratch that a step cannot do
  // without: dies when the machine has no memory left.
  void Grow(size_t size);

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Host buffers of float32 for Backend::Allocate and Backend::Upload.
absl::StatusOr<std::unique_ptr<Buffer>> AllocateFloats(size_t num_floats);
absl::StatusOr<std::unique_ptr<Buffer>> UploadFloats(std::span<const float> values);

}  // namespace skv::backend
