#include "kvstore/arena/arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/rounding.h"
#include "common/status.h"
#include "kvstore/arena/memory_room.h"

namespace skv::kvstore {
namespace {

constexpr uint64_t kPieceBytes = uint64_t{64} << 20;  // some 60 ms of the kernel's work
// A signal makes the kernel give up the whole call, so calls are short (1 ms).
constexpr uint64_t kCallBytes = uint64_t{2} << 20;

std::string Errno() { return std::strerror(errno); }

absl::Status NoRoom(uint64_t num_bytes, uint64_t taken, std::string_view why) {
  return absl::ResourceExhaustedError(
      absl::StrCat("arena: ", num_bytes, " bytes wanted, ", taken, " taken: ", Sv(why)));
}

// Beyond this limit the kernel does not just refuse, it kills (SIGXFSZ).
absl::Status CheckFileLimit(uint64_t num_bytes) {
  rlimit limit = {};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
      num_bytes <= limit.rlim_cur) {
    return absl::OkStatus();
  }
  return NoRoom(num_bytes, 0,
                absl::StrCat("files of this process may have ", limit.rlim_cur,
                             " bytes: raise it (ulimit -f) or make the arena smaller"));
}

// What has no room now would not fail but bring the kernel to kill a process.
absl::Status CheckRoom(const ArenaOptions& options, uint64_t num_bytes, uint64_t taken) {
  SKV_ASSIGN_OR_RETURN(const MemoryRoom room, ReadMemoryRoom(options.system_root));
  const uint64_t missing = num_bytes - taken;
  if (room.num_bytes >= options.spare_bytes && room.num_bytes - options.spare_bytes >= missing) {
    return absl::OkStatus();
  }
  return NoRoom(
      num_bytes, taken,
      absl::StrCat(room.num_bytes, " bytes of memory are left by ", room.limit, ", of which ",
                   options.spare_bytes, " are to stay free: make the arena smaller"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Arena>> Arena::Create(const ArenaOptions& options,
                                                     const Clock& clock) {
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  if (options.num_bytes == 0) return absl::InvalidArgumentError("arena: has 0 bytes");
  if (options.num_bytes > INT64_MAX - page) {
    return NoRoom(options.num_bytes, 0, "no file can be that large");
  }
  const uint64_t num_bytes = RoundUp(options.num_bytes, page);
  SKV_RETURN_IF_ERROR(CheckFileLimit(num_bytes));
  SKV_RETURN_IF_ERROR(CheckRoom(options, num_bytes, 0));
  const int fd = memfd_create("skv-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return NoRoom(num_bytes, 0, absl::StrCat("memfd_create: ", Errno()));
  void* data = MAP_FAILED;
  if (ftruncate(fd, static_cast<off_t>(num_bytes)) == 0) {
    data = mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  if (data == MAP_FAILED) {
    const absl::Status status = NoRoom(num_bytes, 0, Errno());
    close(fd);
    return status;
  }
  auto arena = std::unique_ptr<Arena>(new Arena(fd, static_cast<std::byte*>(data), num_bytes));
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return absl::InternalError(absl::StrCat("arena: cannot seal its size: ", Errno()));
  }
  SKV_RETURN_IF_ERROR(arena->TakePages(options, clock));
  return arena;
}

Arena::Arena(int fd, std::byte* data, uint64_t num_bytes)
    : fd_(fd), data_(data), num_bytes_(num_bytes) {}

Arena::~Arena() {
  munmap(data_, num_bytes_);
  close(fd_);
}

std::span<std::byte> Arena::Bytes(uint64_t offset, uint64_t length) const {
  SKV_CHECK(offset <= num_bytes_ && length <= num_bytes_ - offset)
      << offset << " + " << length << " of " << num_bytes_;
  return {data_ + offset, length};
}

absl::Status Arena::TakePages(const ArenaOptions& options, const Clock& clock) const {
  for (uint64_t offset = 0; offset < num_bytes_; offset += kPieceBytes) {
    if (clock.Now() >= options.deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("arena: took ", offset, " of ", num_bytes_, " bytes in time"));
    }
    SKV_RETURN_IF_ERROR(CheckRoom(options, num_bytes_, offset));
    const uint64_t end = std::min(offset + kPieceBytes, num_bytes_);
    SKV_RETURN_IF_ERROR(TakePiece(offset, end));
    if (options.on_progress != nullptr && !options.on_progress(end)) {
      return absl::CancelledError(
          absl::StrCat("arena: cancelled after ", end, " of ", num_bytes_, " bytes"));
    }
  }
  return absl::OkStatus();
}

absl::Status Arena::TakePiece(uint64_t begin, uint64_t end) const {
  for (uint64_t offset = begin; offset < end; offset += kCallBytes) {
    const uint64_t length = std::min(kCallBytes, end - offset);
    // A fault that finds no page is SIGBUS, this call an error.
    while (fallocate(fd_, 0, static_cast<off_t>(offset), static_cast<off_t>(length)) != 0) {
      if (errno != EINTR) return NoRoom(num_bytes_, offset, absl::StrCat("fallocate: ", Errno()));
    }
    // Maps the pages that now exist. Kernels before 5.14 do it at the first touch.
    if (madvise(data_ + offset, length, MADV_POPULATE_WRITE) != 0 && errno != EINVAL &&
        errno != EINTR) {
      return NoRoom(num_bytes_, offset, absl::StrCat("mapping pages: ", Errno()));
    }
  }
  return absl::OkStatus();
}

}  // namespace skv::kvstore
