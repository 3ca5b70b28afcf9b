#pragma once
// The files in which RocksDB keeps the blocks of a folder.

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace skv::corrupt {

struct BlobDamage {
  int num_files = 0;
  uint64_t num_bytes = 0;  // of all of them
};

// Brings all blocks of the folder to blob files and flips `count` bits of those, each bit of all
// files as likely as any other. No store may run in the folder. NotFound: there are no blob files.
// Internal: RocksDB or a file cannot be written.
absl::StatusOr<BlobDamage> DamageBlobFiles(const std::string& folder, int count, uint64_t seed);

}  // namespace skv::corrupt
