#include "kvstore/client/mapped_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::kvstore {

absl::StatusOr<MappedMemory> MappedMemory::OfArena(int fd, uint64_t num_bytes) {
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("arena: its descriptor is no memfd: ", std::strerror(errno)));
  }
  if ((seals & F_SEAL_SHRINK) == 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "arena: has seals ", seals, ", expected F_SEAL_SHRINK among them: it could be cut off"));
  }
  // Looked at after the seals: until then the size may change.
  struct stat info = {};
  if (fstat(fd, &info) != 0 || static_cast<uint64_t>(info.st_size) != num_bytes) {
    return absl::FailedPreconditionError(
        absl::StrCat("arena: its memfd has ", info.st_size, " bytes, expected ", num_bytes));
  }
  return Map(fd, num_bytes, MAP_SHARED);
}

absl::StatusOr<MappedMemory> MappedMemory::Anonymous(uint64_t num_bytes) {
  return Map(-1, num_bytes, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
}

absl::StatusOr<MappedMemory> MappedMemory::Map(int fd, uint64_t num_bytes, int flags) {
  void* data = mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (data != MAP_FAILED) {
    return MappedMemory(std::span(static_cast<std::byte*>(data), num_bytes));
  }
  const std::string text =
      absl::StrCat("cannot map ", num_bytes, " bytes for blocks: ", std::strerror(errno));
  // A file sealed against writing.
  if (errno == EPERM || errno == EACCES) return absl::FailedPreconditionError(text);
  return absl::ResourceExhaustedError(text);
}

MappedMemory::MappedMemory(MappedMemory&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})) {}

MappedMemory::~MappedMemory() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

}  // namespace skv::kvstore
