// Takes the place of the C library's allocator, counts and hands on to it: LD_PRELOAD this library.
// Every block has a header before it that says what was asked for and where the block begins, so
// that the count is of requested bytes, whatever alignment costs.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

// NOLINTBEGIN(bugprone-reserved-identifier): the names of the C library
extern "C" {
void* __libc_malloc(size_t size);
void __libc_free(void* data);
void* __libc_memalign(size_t alignment, size_t size);
}
// NOLINTEND(bugprone-reserved-identifier)

namespace {

struct Header {
  size_t size;
  void* begin;
};
static_assert(sizeof(Header) == 16 && alignof(std::max_align_t) == 16);

// Constant initialised: the loader allocates before any constructor runs.
std::atomic<int64_t> allocated_bytes{0};

Header* HeaderOf(void* data) { return static_cast<Header*>(data) - 1; }

void* Allocate(size_t alignment, size_t size) {
  const size_t before = std::max(alignment, sizeof(Header));
  if (size > SIZE_MAX - before) return nullptr;
  void* const begin = alignment <= sizeof(Header) ? __libc_malloc(before + size)
                                                  : __libc_memalign(alignment, before + size);
  if (begin == nullptr) return nullptr;
  void* const data = static_cast<char*>(begin) + before;
  *HeaderOf(data) = {size, begin};
  allocated_bytes.fetch_add(static_cast<int64_t>(size), std::memory_order_relaxed);
  return data;
}

void* AllocateOrSetErrno(size_t alignment, size_t size) {
  void* const data = Allocate(alignment, size);
  if (data == nullptr) errno = ENOMEM;
  return data;
}

}  // namespace

extern "C" {

// bench/engine/allocation_count.h
int64_t skv_allocated_bytes() { return allocated_bytes.load(std::memory_order_relaxed); }

void* malloc(size_t size) { return AllocateOrSetErrno(sizeof(Header), size); }

void free(void* data) {
  if (data == nullptr) return;
  const Header header = *HeaderOf(data);
  allocated_bytes.fetch_sub(static_cast<int64_t>(header.size), std::memory_order_relaxed);
  __libc_free(header.begin);
}

void* calloc(size_t count, size_t size) {
  size_t total = 0;
  if (__builtin_mul_overflow(count, size, &total)) {
    errno = ENOMEM;
    return nullptr;
  }
  void* const data = malloc(total);
  if (data != nullptr) std::memset(data, 0, total);
  return data;
}

void* realloc(void* data, size_t size) {
  if (data == nullptr) return malloc(size);
  void* const moved = malloc(size);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, data, std::min(size, HeaderOf(data)->size));
  free(data);
  return moved;
}

void* memalign(size_t alignment, size_t size) { return AllocateOrSetErrno(alignment, size); }
void* aligned_alloc(size_t alignment, size_t size) { return AllocateOrSetErrno(alignment, size); }

int posix_memalign(void** data, size_t alignment, size_t size) {
  *data = Allocate(alignment, size);
  return *data == nullptr ? ENOMEM : 0;
}

size_t malloc_usable_size(void* data) { return data == nullptr ? 0 : HeaderOf(data)->size; }
}
