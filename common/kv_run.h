#pragma once
// Keys and values that lie together, as the cache gives them and attention takes them.

#include <cstddef>

namespace skv {

// Consecutive entries of an attended list: k and v are [num_rows, head_dim] of the backend's KV
// type.
struct KvRun {
  const std::byte* k;
  const std::byte* v;
  int num_rows;
};

}  // namespace skv
