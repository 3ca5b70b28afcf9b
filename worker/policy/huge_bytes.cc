#include "worker/policy/huge_bytes.h"

#include <sys/mman.h>

namespace skv::policy {
namespace {

constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = size_t{1} << 21;

}  // namespace

HugeBytes::HugeBytes(size_t size) {
  if (size == 0) return;
  const size_t unit = size < kHugePage ? kCacheLine : kHugePage;
  const size_t rounded = (size + unit - 1) / unit * unit;
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(unit, rounded)));
  if (data_ != nullptr && unit == kHugePage) madvise(data_.get(), rounded, MADV_HUGEPAGE);
}

}  // namespace skv::policy
