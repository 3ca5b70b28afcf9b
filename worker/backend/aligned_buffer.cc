#include "worker/backend/aligned_buffer.h"

#include <sys/mman.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"

namespace skv::backend {
namespace {

class HostBuffer : public Buffer {
 public:
  explicit HostBuffer(AlignedBytes bytes) : bytes_(std::move(bytes)) {}
  float* data() override { return reinterpret_cast<float*>(bytes_.data()); }

 private:
  AlignedBytes bytes_;
};

}  // namespace

absl::StatusOr<AlignedBytes> AlignedBytes::Allocate(size_t size) {
  AlignedBytes bytes;
  if (size == 0) return bytes;
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot map ", size, " bytes: ", strerror(errno)));
  }
  if (size >= (size_t{1} << 21)) madvise(data, size, MADV_HUGEPAGE);
  bytes.data_ = static_cast<std::byte*>(data);
  bytes.size_ = size;
  return bytes;
}

AlignedBytes::~AlignedBytes() {
  if (data_ != nullptr) munmap(data_, size_);
}

void AlignedBytes::Grow(size_t size) {
  if (size <= size_) return;
  absl::StatusOr<AlignedBytes> grown = Allocate(size + size / 2);
  SKV_CHECK(grown.ok()) << "scratch memory: " << grown.status().ToString();
  *this = std::move(grown).value();
}

absl::StatusOr<std::unique_ptr<Buffer>> AllocateFloats(size_t num_floats) {
  SKV_ASSIGN_OR_RETURN(AlignedBytes bytes, AlignedBytes::Allocate(num_floats * sizeof(float)));
  return std::make_unique<HostBuffer>(std::move(bytes));
}

absl::StatusOr<std::unique_ptr<Buffer>> UploadFloats(std::span<const float> values) {
  SKV_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer, AllocateFloats(values.size()));
  std::copy(values.begin(), values.end(), buffer->data());
  return buffer;
}

}  // namespace skv::backend
