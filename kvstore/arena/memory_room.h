#pragma once
// How much memory this process could still be given before the kernel kills something for it.

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace skv::kvstore {

struct MemoryRoom {
  uint64_t num_bytes;
  std::string limit;  // what sets it: "MemAvailable of /proc/meminfo", or the cgroup's folder
};

// The least of MemAvailable and, for each cgroup (version 2) that this process is in, its
// memory.max less what is charged to it and cannot be dropped (memory.current without inactive
// file pages). A cgroup without files or without a limit sets none. `root` stands in front of all
// paths; "" outside of tests. Unavailable: /proc/meminfo cannot be read. Thread-safe.
absl::StatusOr<MemoryRoom> ReadMemoryRoom(const std::string& root);

}  // namespace skv::kvstore
