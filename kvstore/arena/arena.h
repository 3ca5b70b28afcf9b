#pragma once
// The memory that holds blocks: one memfd of fixed size, which clients map too. Everything inside
// is named by offset, since it lies at another address in each process.
//
// The size is sealed: no client that has the descriptor can shrink the file, which would kill
// whoever reads it (SIGBUS), or seal it further. All pages are taken before Create returns, so that
// they are charged to this process and a full machine shows now. Clients can write anywhere, and
// can punch holes, after which the bytes there are 0 and cost memory again when read: what is read
// here is checked (kvstore/block), and nothing that must be right is kept here.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock.h"

namespace skv::kvstore {

struct ArenaOptions {
  uint64_t num_bytes = 0;  // rounded up to whole pages
  // Room that taking the pages must leave to all others.
  uint64_t spare_bytes = uint64_t{256} << 20;
  TimePoint deadline = TimePoint::max();
  // Called every 64 MiB with the bytes taken so far; false ends Create with Cancelled.
  std::function<bool(uint64_t num_bytes)> on_progress;
  // Before "/proc" and "/sys", for tests.
  std::string system_root;
};

// Thread-safe: nothing changes after Create.
class Arena {
 public:
  // `clock` is used by this call only.
  // InvalidArgument: num_bytes is 0. ResourceExhausted: the machine, a cgroup or a limit of this
  // process has no room, with the sizes; nothing is kept. DeadlineExceeded, Cancelled: see
  // ArenaOptions. Unavailable: the machine does not tell how much memory it has.
  static absl::StatusOr<std::unique_ptr<Arena>> Create(const ArenaOptions& options,
                                                       const Clock& clock);
  // Unmaps; the memory is free when the last client has let go of it, too.
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  uint64_t num_bytes() const { return num_bytes_; }
  // To hand over (SCM_RIGHTS); stays this object's. Closed on exec.
  int fd() const { return fd_; }
  // REQUIRES: offset + length <= num_bytes().
  std::span<std::byte> Bytes(uint64_t offset, uint64_t length) const;

 private:
  Arena(int fd, std::byte* data, uint64_t num_bytes);
  absl::Status TakePages(const ArenaOptions& options, const Clock& clock) const;
  absl::Status TakePiece(uint64_t begin, uint64_t end) const;

  const int fd_;
  std::byte* const data_;
  const uint64_t num_bytes_;
};

}  // namespace skv::kvstore
