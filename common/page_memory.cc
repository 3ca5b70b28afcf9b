#include "common/page_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "common/log.h"

namespace skv {

void* MapPages(size_t num_bytes) {
  if (num_bytes == 0) return nullptr;
  void* const pages = mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  SKV_CHECK(pages != MAP_FAILED) << "a table of " << num_bytes
                                 << " bytes cannot be mapped: " << std::strerror(errno);
  // With transparent_hugepage=always one touch would commit 2 MiB. A kernel without huge pages
  // refuses, and commits single pages anyway.
  madvise(pages, num_bytes, MADV_NOHUGEPAGE);
  return pages;
}

void UnmapPages(void* pages, size_t num_bytes) {
  if (pages != nullptr) munmap(pages, num_bytes);
}

}  // namespace skv
