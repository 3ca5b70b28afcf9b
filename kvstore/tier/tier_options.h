#pragma once
// How the tiers are set up, apart from the libraries that they are made of.

#include <chrono>
#include <cstdint>
#include <string>

#include "common/clock.h"

namespace skv::kvstore {

// Larger blocks are refused, and what claims to be larger is not read.
inline constexpr uint64_t kMaxTierBlockBytes = uint64_t{1} << 30;

struct NvmeTierOptions {
  std::string folder;           // made if it is not there; its parent must be
  uint64_t capacity_bytes = 0;  // of blocks, at least kMinNvmeCapacityBytes
  // Of all that is written, the copy in the log too: a block counts twice. 0: no limit.
  uint64_t write_bytes_per_second = 0;
};
inline constexpr uint64_t kMinNvmeCapacityBytes = uint64_t{16} << 20;

struct RedisTierOptions {
  std::string address;        // "host:port", "[address]:port", or "unix:///path"
  std::string username;       // empty: Redis' default user
  std::string password_file;  // its first line; empty: the environment's SKV_REDIS_PASSWORD, if any
  int database = 0;
  // The longest wait for a connection, or for the next byte of a reply. A call as a whole ends at
  // its own deadline.
  Duration timeout = std::chrono::milliseconds(500);
};

}  // namespace skv::kvstore
