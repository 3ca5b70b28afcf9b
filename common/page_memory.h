#pragma once
// Memory of large tables whose size is fixed at the start: mappings of their own. A page is
// committed when it is first touched, and all go back to the kernel with the table. The heap does
// neither for long: once it has freed a large piece it keeps such pieces, in an arena of each
// thread, and gives them out again dirty, so tables that come and go would stay resident.
//
// What the kernel refuses ends the process, as the heap's std::bad_alloc would.

#include <cstddef>
#include <type_traits>

namespace skv {

// Zeros. nullptr for 0 bytes.
void* MapPages(size_t num_bytes);
void UnmapPages(void* pages, size_t num_bytes);

// For containers that reserve all that they will hold: each allocation is a mapping.
template <typename T>
struct PageAllocator {
  using value_type = T;

  PageAllocator() = default;
  template <typename U>
  PageAllocator(const PageAllocator<U>&) {}  // NOLINT(google-explicit-constructor): as containers

  T* allocate(size_t count) { return static_cast<T*>(MapPages(count * sizeof(T))); }
  void deallocate(T* data, size_t count) { UnmapPages(data, count * sizeof(T)); }

  template <typename U>
  bool operator==(const PageAllocator<U>&) const {
    return true;
  }
};

// `size` objects whose bytes are all 0 until they are written: T's own initialisers are not run.
// Neither copied nor moved.
template <typename T>
class ZeroPages {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit ZeroPages(size_t size)
      : size_(size), data_(static_cast<T*>(MapPages(size * sizeof(T)))) {}
  ZeroPages(const ZeroPages&) = delete;
  ZeroPages& operator=(const ZeroPages&) = delete;
  ~ZeroPages() { UnmapPages(data_, size_ * sizeof(T)); }

  size_t size() const { return size_; }
  T& operator[](size_t index) { return data_[index]; }
  const T& operator[](size_t index) const { return data_[index]; }

 private:
  const size_t size_;
  T* const data_;
};

}  // namespace skv
