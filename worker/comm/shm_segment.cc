#include "worker/comm/shm_segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/futex.h"
#include "common/status.h"

namespace skv::comm {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kMagic = 0x6d6d6f632d766b73;  // "skv-comm"
// Raise it with every change of the layout or of the order of calls.
constexpr uint32_t kVersion = 1;
// The counter wraps every few days of serving; starting just below lets every run cross the wrap.
constexpr int32_t kFirstRound = -200;
constexpr milliseconds kPollInterval{2};  // for the rendezvous file to appear
constexpr milliseconds kJoinCheck{20};    // between looks for ranks that died while joining

size_t LinesOffset() { return (sizeof(SegmentHeader) + 63) / 64 * 64; }
size_t SlotsOffset(int world_size) { return LinesOffset() + world_size * sizeof(RankLines); }
size_t SegmentBytes(int world_size) {
  return SlotsOffset(world_size) + static_cast<size_t>(world_size) * 2 * kSlotBytes;
}

std::string Errno(std::string_view what, std::string_view path) {
  return absl::StrCat(Sv(what), " ", Sv(path), ": ", std::strerror(errno));
}

struct flock LockOf(int rank) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = rank;
  lock.l_len = 1;
  return lock;
}

bool TakeLock(int fd, int rank) {
  struct flock lock = LockOf(rank);
  return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

// True when another open file holds the lock of `rank`.
bool IsLockHeld(int fd, int rank) {
  struct flock lock = LockOf(rank);
  return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

class ScopedFd {
 public:
  explicit ScopedFd(int fd) : fd_(fd) {}
  ~ScopedFd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

absl::Status CheckOptions(const ShmOptions& options) {
  if (options.world_size < 1 || options.world_size > kMaxShmRanks) {
    return absl::InvalidArgumentError(
        absl::StrCat("world size ", options.world_size, " is outside 1..", kMaxShmRanks));
  }
  if (options.rank < 0 || options.rank >= options.world_size) {
    return absl::InvalidArgumentError(absl::StrCat("rank ", options.rank, " is outside 0..",
                                                   options.world_size - 1, " of world size ",
                                                   options.world_size));
  }
  if (options.fingerprint.size() > kMaxFingerprintBytes) {
    return absl::InvalidArgumentError(absl::StrCat("fingerprint has ", options.fingerprint.size(),
                                                   " bytes, at most ", kMaxFingerprintBytes,
                                                   " are compared: hash its long parts"));
  }
  return absl::OkStatus();
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Removes what a dead rank 0 left at the path; OK also when nothing is there.
absl::Status RemoveStale(const std::string& path) {
  const ScopedFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (fd.get() < 0 && errno == ENOENT) return absl::OkStatus();
  uint64_t magic = 0;
  if (fd.get() < 0 || pread(fd.get(), &magic, sizeof(magic), 0) != sizeof(magic) ||
      magic != kMagic) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": exists and is no rendezvous file of ours: choose another path"));
  }
  if (IsLockHeld(fd.get(), 0)) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": another group with a live rank 0 is joining here: give each group its own path"));
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return absl::FailedPreconditionError(Errno("cannot remove the left-over", path));
  }
  return absl::OkStatus();
}

// Only what our own user made for itself is mapped.
absl::Status CheckOwner(int fd, const std::string& path) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return absl::FailedPreconditionError(Errno("fstat", path));
  if (!S_ISREG(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": is not a file that only this user can open (owner ", info.st_uid,
                     ", mode ", info.st_mode & 07777, "): refusing to share memory through it"));
  }
  return absl::OkStatus();
}

}  // namespace

ShmSegment::ShmSegment(int fd, void* memory, const ShmOptions& options)
    : fd_(fd),
      options_(options),
      header_(static_cast<SegmentHeader*>(memory)),
      lines_(reinterpret_cast<RankLines*>(static_cast<char*>(memory) + LinesOffset())),
      slots_(static_cast<char*>(memory) + SlotsOffset(header_->world_size)) {}

ShmSegment::~ShmSegment() {
  munmap(header_, header_->num_bytes);
  close(fd_);
}

absl::StatusOr<std::unique_ptr<ShmSegment>> ShmSegment::Join(const ShmOptions& options) {
  SKV_RETURN_IF_ERROR(CheckOptions(options));
  const TimePoint deadline = RealClock().Now() + options.join_timeout;
  auto segment = options.rank == 0 ? Create(options) : Open(options, deadline);
  if (!segment.ok()) return segment.status();
  SKV_RETURN_IF_ERROR((*segment)->AwaitAll(deadline));
  return segment;
}

// The file gets its name only once it is complete and locked, so nobody ever sees half of it.
absl::StatusOr<std::unique_ptr<ShmSegment>> ShmSegment::Create(const ShmOptions& options) {
  const std::string folder = FolderOf(options.path);
  ScopedFd fd(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd.get() < 0) {
    return absl::InvalidArgumentError(absl::StrCat(Errno("cannot create a segment in", folder),
                                                   ": use a folder such as /dev/shm"));
  }
  const size_t num_bytes = SegmentBytes(options.world_size);
  if (const int error = posix_fallocate(fd.get(), 0, num_bytes); error != 0) {
    return absl::InvalidArgumentError(absl::StrCat("cannot reserve ", num_bytes, " bytes in ",
                                                   folder, ": ", std::strerror(error)));
  }
  void* memory = mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) return absl::InternalError(Errno("mmap", options.path));
  auto* header = new (memory) SegmentHeader();
  header->magic = kMagic;
  header->version = kVersion;
  header->world_size = options.world_size;
  header->num_bytes = num_bytes;
  header->fingerprint_size = static_cast<uint32_t>(options.fingerprint.size());
  std::memcpy(header->fingerprint, options.fingerprint.data(), options.fingerprint.size());
  auto segment = std::unique_ptr<ShmSegment>(new ShmSegment(fd.Release(), memory, options));
  for (int rank = 0; rank < options.world_size; ++rank) {
    new (&segment->lines(rank)) RankLines();
    segment->lines(rank).round.store(kFirstRound);
  }
  if (!TakeLock(segment->fd_, 0)) {
    return absl::InvalidArgumentError(Errno("cannot lock a file in", folder));
  }
  const std::string self = absl::StrCat("/proc/self/fd/", segment->fd_);
  while (linkat(AT_FDCWD, self.c_str(), AT_FDCWD, options.path.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    if (errno != EEXIST) return absl::InvalidArgumentError(Errno("cannot create", options.path));
    SKV_RETURN_IF_ERROR(RemoveStale(options.path));
  }
  return segment;
}

absl::StatusOr<std::unique_ptr<ShmSegment>> ShmSegment::Open(const ShmOptions& options,
                                                             TimePoint deadline) {
  while (true) {
    ScopedFd fd(open(options.path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (fd.get() < 0 && errno != ENOENT) {
      return absl::FailedPreconditionError(Errno("cannot open", options.path));
    }
    // A file whose rank 0 is gone is left over from an earlier group: ours is still to come.
    if (fd.get() >= 0 && IsLockHeld(fd.get(), 0)) {
      SKV_RETURN_IF_ERROR(CheckOwner(fd.get(), options.path));
      return Adopt(fd.Release(), options);
    }
    if (RealClock().Now() >= deadline) {
      return absl::UnavailableError(
          absl::StrCat("rank ", options.rank, " waited ", options.join_timeout.count(), " ms at ",
                       options.path, " for the group: rank 0 did not join"));
    }
    std::this_thread::sleep_for(kPollInterval);
  }
}

absl::StatusOr<std::unique_ptr<ShmSegment>> ShmSegment::Adopt(int raw_fd,
                                                              const ShmOptions& options) {
  ScopedFd fd(raw_fd);
  struct stat info {};
  if (fstat(fd.get(), &info) != 0 || info.st_size < static_cast<off_t>(sizeof(SegmentHeader))) {
    return absl::FailedPreconditionError(absl::StrCat(options.path, ": is no rendezvous file"));
  }
  void* memory = mmap(nullptr, info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) return absl::InternalError(Errno("mmap", options.path));
  const auto* header = static_cast<const SegmentHeader*>(memory);
  if (header->magic != kMagic || header->version != kVersion || header->world_size < 1 ||
      header->world_size > kMaxShmRanks || header->num_bytes != SegmentBytes(header->world_size) ||
      header->num_bytes != static_cast<uint64_t>(info.st_size)) {
    const uint32_t version = header->version;
    munmap(memory, info.st_size);
    return absl::FailedPreconditionError(
        absl::StrCat(options.path, ": rank 0 speaks another protocol (version ", version,
                     ", this rank ", kVersion, "): start all ranks from one build"));
  }
  auto segment = std::unique_ptr<ShmSegment>(new ShmSegment(fd.Release(), memory, options));
  SKV_RETURN_IF_ERROR(segment->Compare(options));
  if (!TakeLock(segment->fd_, options.rank)) {
    return absl::FailedPreconditionError(
        absl::StrCat(options.path, ": ", segment->Describe(options.rank),
                     " has joined already: two processes ", "were started with one rank"));
  }
  return segment;
}

// Both sides learn of a disagreement: this rank by the returned error, the others by the broken
// group.
absl::Status ShmSegment::Compare(const ShmOptions& options) {
  if (header_->world_size != options.world_size) {
    return Break(absl::StatusCode::kFailedPrecondition,
                 absl::StrCat("ranks disagree on the world size: rank ", options.rank, " has ",
                              options.world_size, ", rank 0 has ", header_->world_size));
  }
  const size_t size = std::min<size_t>(header_->fingerprint_size, kMaxFingerprintBytes);
  const std::string_view expected(header_->fingerprint, size);
  if (expected != options.fingerprint) {
    return Break(absl::StatusCode::kFailedPrecondition,
                 absl::StrCat("ranks disagree on model or flags: rank ", options.rank, " has '",
                              options.fingerprint, "', rank 0 has '", Sv(expected),
                              "': start all ranks with the same"));
  }
  return absl::OkStatus();
}

absl::Status ShmSegment::AwaitAll(TimePoint deadline) {
  RankLines& own = lines(options_.rank);
  own.pid = getpid();
  own.has_joined.store(1, std::memory_order_release);
  header_->num_joined.fetch_add(1);
  FutexWake(header_->num_joined, kMaxShmRanks, FutexScope::kShared);
  while (true) {
    // Looked at first: a group that broke after all had joined is for the first call to report.
    if (header_->is_ready.load(std::memory_order_acquire) == 1) return absl::OkStatus();
    SKV_RETURN_IF_ERROR(CheckWhole());
    const int32_t num_joined = header_->num_joined.load();
    if (options_.rank == 0 && num_joined == world_size()) {
      Unlink();
      header_->is_ready.store(1);
      FutexWake(header_->num_joined, kMaxShmRanks, FutexScope::kShared);
      return absl::OkStatus();
    }
    SKV_RETURN_IF_ERROR(CheckNobodyDied());
    if (RealClock().Now() >= deadline) return FailJoin();
    FutexWait(header_->num_joined, num_joined, FutexScope::kShared, kJoinCheck);
  }
}

absl::Status ShmSegment::CheckNobodyDied() {
  for (int rank = 0; rank < world_size(); ++rank) {
    if (rank == options_.rank || lines(rank).has_joined.load(std::memory_order_acquire) == 0 ||
        IsAlive(rank)) {
      continue;
    }
    // Rank 0 may have finished joining, worked and left while this rank was not looking.
    if (header_->is_ready.load(std::memory_order_acquire) == 1) return absl::OkStatus();
    if (options_.rank == 0) Unlink();
    return Break(absl::StatusCode::kUnavailable,
                 absl::StrCat(Describe(rank), " died while the group was joining"));
  }
  return absl::OkStatus();
}

absl::Status ShmSegment::FailJoin() {
  std::vector<int> missing;
  for (int rank = 0; rank < world_size(); ++rank) {
    if (lines(rank).has_joined.load(std::memory_order_acquire) == 0) missing.push_back(rank);
  }
  if (options_.rank == 0) Unlink();
  return Break(
      absl::StatusCode::kUnavailable,
      absl::StrCat("rank ", options_.rank, " of ", world_size(), " waited ",
                   options_.join_timeout.count(), " ms at ", options_.path,
                   " for the group: rank(s) ", absl::StrJoin(missing, ", "), " did not join"));
}

void ShmSegment::Unlink() const {
  struct stat own {
  }, named{};
  if (fstat(fd_, &own) == 0 && stat(options_.path.c_str(), &named) == 0 &&
      own.st_ino == named.st_ino && own.st_dev == named.st_dev) {
    unlink(options_.path.c_str());
  }
}

bool ShmSegment::IsAlive(int rank) const { return IsLockHeld(fd_, rank); }

std::string ShmSegment::Describe(int rank) const {
  if (lines(rank).has_joined.load(std::memory_order_acquire) == 0) {
    return absl::StrCat("rank ", rank);
  }
  return absl::StrCat("rank ", rank, " (pid ", lines(rank).pid, ")");
}

absl::Status ShmSegment::CheckWhole() const {
  const BreakRecord& record = header_->broken;
  int32_t state = record.state.load(std::memory_order_acquire);
  if (state == static_cast<int32_t>(BreakState::kWhole)) return absl::OkStatus();
  // The breaker needs microseconds for its message, unless it was killed within them.
  for (int i = 0; i < 1000 && state == static_cast<int32_t>(BreakState::kBreaking); ++i) {
    sched_yield();
    state = record.state.load(std::memory_order_acquire);
  }
  if (state != static_cast<int32_t>(BreakState::kBroken)) {
    return absl::AbortedError(
        "the rank group is broken, and whoever broke it died without a reason");
  }
  const std::string_view message(record.message, strnlen(record.message, sizeof(record.message)));
  return absl::Status(static_cast<absl::StatusCode>(record.code), Sv(message));
}

absl::Status ShmSegment::Break(absl::StatusCode code, std::string_view message) {
  BreakRecord& record = header_->broken;
  int32_t whole = static_cast<int32_t>(BreakState::kWhole);
  if (record.state.compare_exchange_strong(whole, static_cast<int32_t>(BreakState::kBreaking))) {
    record.code = static_cast<int32_t>(code);
    const size_t size = std::min(message.size(), sizeof(record.message) - 1);
    std::memcpy(record.message, message.data(), size);
    record.message[size] = '\0';
    record.state.store(static_cast<int32_t>(BreakState::kBroken), std::memory_order_release);
    WakeAll();
  }
  return CheckWhole();
}

void ShmSegment::WakeAll() {
  FutexWake(header_->num_joined, kMaxShmRanks, FutexScope::kShared);
  for (int rank = 0; rank < world_size(); ++rank) {
    FutexWake(lines(rank).round, kMaxShmRanks, FutexScope::kShared);
  }
}

}  // namespace skv::comm
