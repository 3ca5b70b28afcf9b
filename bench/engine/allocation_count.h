#pragma once
// What the shared library skv-count-allocations tells of the process that it is preloaded into.

#include <dlfcn.h>

#include <cstdint>

namespace skv::bench {

// Returns the bytes that the process has asked malloc, new and their kin for and has not given
// back; mappings are not among them. Thread-safe.
using AllocationCount = int64_t();
inline constexpr char kAllocationCount[] = "skv_allocated_bytes";

// Null where the library is not preloaded.
inline AllocationCount* FindAllocationCount() {
  return reinterpret_cast<AllocationCount*>(dlsym(RTLD_DEFAULT, kAllocationCount));
}

}  // namespace skv::bench
