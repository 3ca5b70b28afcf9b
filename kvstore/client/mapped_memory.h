#pragma once
// Memory that blocks lie in, mapped for reading and writing. Unmaps it when it goes.
// Not thread-safe.

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"

namespace skv::kvstore {

class MappedMemory {
 public:
  // Maps a store's arena. The descriptor may be closed afterwards.
  // FailedPrecondition: it is no memfd of exactly `num_bytes`, or its size is not sealed against
  // shrinking: whoever shrank it would kill this process (SIGBUS). ResourceExhausted: no address
  // space.
  static absl::StatusOr<MappedMemory> OfArena(int fd, uint64_t num_bytes);
  // Zeros, committed when first written. ResourceExhausted.
  static absl::StatusOr<MappedMemory> Anonymous(uint64_t num_bytes);

  MappedMemory(MappedMemory&& other) noexcept;
  MappedMemory& operator=(MappedMemory&&) = delete;
  ~MappedMemory();

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  explicit MappedMemory(std::span<std::byte> bytes) : bytes_(bytes) {}
  static absl::StatusOr<MappedMemory> Map(int fd, uint64_t num_bytes, int flags);

  std::span<std::byte> bytes_;
};

}  // namespace skv::kvstore
