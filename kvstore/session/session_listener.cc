#include "kvstore/session/session_listener.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kvstore/session/socket_address.h"

namespace skv::kvstore {
namespace {

constexpr int kMaxLockTries = 100;
constexpr std::chrono::milliseconds kLockPause{10};

absl::Status ListenError(const std::string& path) {
  return absl::FailedPreconditionError(ErrnoText(absl::StrCat("cannot listen at ", path)));
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Two stores that find the same dead socket would each remove it, and the second one the first
// one's new socket: who looks and replaces has the folder's lock. It ends with the descriptor.
absl::StatusOr<Descriptor> LockFolder(const std::string& path) {
  const std::string folder = FolderOf(path);
  Descriptor descriptor(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!descriptor.is_open() && errno == ENOENT) {
    return absl::NotFoundError(absl::StrCat("cannot listen at ", path, ": the folder ", folder,
                                            " does not exist: create it"));
  }
  if (!descriptor.is_open()) return ListenError(path);
  for (int i = 0; flock(descriptor.get(), LOCK_EX | LOCK_NB) != 0; ++i) {
    if (errno != EWOULDBLOCK && errno != EINTR) return ListenError(path);
    if (i == kMaxLockTries) {
      return absl::UnavailableError(absl::StrCat("cannot listen at ", path, ": another process ",
                                                 "has kept the folder ", folder, " locked"));
    }
    std::this_thread::sleep_for(kLockPause);
  }
  return descriptor;
}

// OK when nothing is there, or nobody listens any more and the file is gone now.
absl::Status RemoveStale(const std::string& path, const sockaddr_un& address) {
  struct stat info = {};
  if (lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? absl::OkStatus() : ListenError(path);
  }
  if (!S_ISSOCK(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot listen at ", path, ": there is something else than a socket: choose another path"));
  }
  const Descriptor probe(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.is_open()) return SocketError("socket");
  const auto* raw = reinterpret_cast<const sockaddr*>(&address);
  // EAGAIN: a queue is full, EPROTOTYPE: packets of another kind. Somebody is there.
  if (connect(probe.get(), raw, sizeof(address)) == 0 || errno == EAGAIN || errno == EPROTOTYPE) {
    return absl::AlreadyExistsError(absl::StrCat(
        "cannot listen at ", path, ": a live process does: stop it or choose another path"));
  }
  if (errno != ECONNREFUSED) return ListenError(path);
  return unlink(path.c_str()) == 0 || errno == ENOENT ? absl::OkStatus() : ListenError(path);
}

}  // namespace

absl::StatusOr<SessionListener> SessionListener::Listen(const std::string& path, mode_t mode) {
  SKV_ASSIGN_OR_RETURN(const sockaddr_un address, SocketAddress(path));
  Descriptor descriptor(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!descriptor.is_open()) return SocketError("socket");
  SKV_ASSIGN_OR_RETURN(const Descriptor lock, LockFolder(path));
  SKV_RETURN_IF_ERROR(RemoveStale(path, address));
  const auto* raw = reinterpret_cast<const sockaddr*>(&address);
  struct stat info = {};
  if (bind(descriptor.get(), raw, sizeof(address)) != 0) return ListenError(path);
  if (chmod(path.c_str(), mode) != 0 || lstat(path.c_str(), &info) != 0 ||
      listen(descriptor.get(), SOMAXCONN) != 0) {
    const absl::Status status = ListenError(path);
    unlink(path.c_str());
    return status;
  }
  return SessionListener(std::move(descriptor), path, info.st_dev, info.st_ino);
}

SessionListener::SessionListener(Descriptor descriptor, std::string path, dev_t device, ino_t inode)
    : descriptor_(std::move(descriptor)), path_(std::move(path)), device_(device), inode_(inode) {}

SessionListener::~SessionListener() {
  struct stat info = {};
  if (descriptor_.is_open() && lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ &&
      info.st_ino == inode_) {
    unlink(path_.c_str());
  }
}

absl::StatusOr<std::optional<SessionSocket>> SessionListener::TryAccept() {
  while (true) {
    Descriptor accepted(accept4(fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (accepted.is_open()) return SessionSocket(std::move(accepted));
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
    if (errno != EINTR && errno != ECONNABORTED) return SocketError("session socket: accept");
  }
}

}  // namespace skv::kvstore
