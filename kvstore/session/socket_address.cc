#include "kvstore/session/socket_address.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::kvstore {

absl::StatusOr<sockaddr_un> SocketAddress(std::string_view path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const size_t max_bytes = sizeof(address.sun_path) - 1;
  if (path.empty() || path.size() > max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("socket path '", Sv(path), "' has ", path.size(),
                                                   " bytes, expected 1 to ", max_bytes));
  }
  // A first byte of 0 would name a socket outside of the file system.
  if (path.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError("socket path has a zero byte, expected none");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

std::string ErrnoText(std::string_view what) {
  return absl::StrCat(Sv(what), ": ", std::strerror(errno));
}

absl::Status SocketError(std::string_view what) {
  switch (errno) {
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
      return absl::UnavailableError(absl::StrCat(Sv(what), ": the peer has closed the session"));
    case ENOBUFS:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case ETOOMANYREFS:  // descriptors on their way, more than RLIMIT_NOFILE
      return absl::ResourceExhaustedError(ErrnoText(what));
    default:
      return absl::InternalError(ErrnoText(what));
  }
}

}  // namespace skv::kvstore
