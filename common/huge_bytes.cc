#include "common/huge_bytes.h"

#include <sys/mman.h>

namespace skv {
namespace {

constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = size_t{1} << 21;

}  // namespace

HugeBytes::HugeBytes(size_t size) {
  if (size == 0) return;
  const size_t alignment = size < kHugePage ? kCacheLine : kHugePage;
  void* data = nullptr;
  if (posix_memalign(&data, alignment, size) != 0) return;
  data_.reset(static_cast<std::byte*>(data));
  if (alignment == kHugePage) madvise(data, size, MADV_HUGEPAGE);
}

}  // namespace skv
