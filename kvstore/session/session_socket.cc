#include "kvstore/session/session_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kvstore/session/socket_address.h"

namespace skv::kvstore {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// Longer waits are made of such.
constexpr milliseconds kMaxWait{1000};
// Several frames on their way: with the usual default of 208 KiB, which counts the kernel's own
// records too, a second frame of 64 KiB would wait for the first to be read.
constexpr int kSendBufferBytes = 4 * kMaxFrameBytes;
// Exactly one descriptor: CMSG_SPACE would have padding that a second one fits into.
constexpr size_t kOneDescriptorBytes = CMSG_LEN(sizeof(int));

absl::Status DeadlineError(std::string_view what) {
  return absl::DeadlineExceededError(absl::StrCat(Sv(what), ": the deadline has passed"));
}

Duration TimeLeft(TimePoint deadline) {
  const TimePoint now = RealClock().Now();
  return deadline <= now ? Duration::zero() : deadline - now;
}

void SetFlags(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof(kSendBufferBytes));
}

// A connect that does not block fails at once when the store's queue is full, and poll cannot wait
// for room there; a blocking one with a time limit does.
void LimitConnect(int fd, TimePoint deadline) {
  const auto left = std::chrono::duration_cast<microseconds>(
      std::clamp<Duration>(TimeLeft(deadline), milliseconds(1), kMaxWait));
  timeval limit = {};
  limit.tv_sec = left.count() / 1000000;
  limit.tv_usec = left.count() % 1000000;
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

absl::Status ConnectError(const std::string& path) {
  const std::string text = ErrnoText(absl::StrCat("cannot connect to ", path));
  switch (errno) {
    case ENOENT:
    case ECONNREFUSED:
      return absl::UnavailableError(absl::StrCat(text, ": no store listens there"));
    case EACCES:
    case EPERM:
    case ENOTDIR:
    case ELOOP:
      return absl::FailedPreconditionError(text);
    case EPROTOTYPE:
      return absl::FailedPreconditionError(absl::StrCat(text, ": it is no store's socket"));
    default:
      return SocketError(absl::StrCat("cannot connect to ", path));
  }
}

struct Received {
  size_t num_bytes = 0;
  Descriptor descriptor;
};

// Takes every descriptor that came into this process.
Descriptor TakeDescriptor(msghdr& message) {
  Descriptor taken;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
      taken.Reset(fd);
    }
  }
  return taken;
}

absl::Status CheckMessage(const msghdr& message, size_t num_bytes, bool may_pass) {
  // Without room for descriptors the kernel drops them before this process has them.
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    return absl::InvalidArgumentError(
        may_pass ? "session socket: the peer passed several descriptors, or one too many for this "
                   "process's limit, expected one"
                 : "session socket: the peer passed descriptors, expected none");
  }
  if (num_bytes > kMaxFrameBytes) {
    return absl::InvalidArgumentError(absl::StrCat("session socket: the peer sent a frame of ",
                                                   num_bytes, " bytes, expected at most ",
                                                   kMaxFrameBytes));
  }
  // An empty packet looks the same; whoever sends one has ended the session.
  if (num_bytes == 0) {
    return absl::UnavailableError("session socket: the peer has closed the session");
  }
  return absl::OkStatus();
}

// nullopt: nothing there.
absl::StatusOr<std::optional<Received>> TryReceiveMessage(int fd, FrameBuffer& buffer,
                                                          bool may_pass) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec bytes = {buffer.data(), buffer.size()};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = may_pass ? control : nullptr;
  message.msg_controllen = may_pass ? kOneDescriptorBytes : 0;
  ssize_t num_bytes = 0;
  do {
    // MSG_TRUNC: a packet that is too long tells its length.
    num_bytes = recvmsg(fd, &message, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
  } while (num_bytes < 0 && errno == EINTR);
  if (num_bytes < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
    return SocketError("session socket: receive");
  }
  Received received;
  received.num_bytes = static_cast<size_t>(num_bytes);
  received.descriptor = TakeDescriptor(message);
  SKV_RETURN_IF_ERROR(CheckMessage(message, received.num_bytes, may_pass));
  return received;
}

absl::StatusOr<Received> ReceiveMessage(int fd, FrameBuffer& buffer, bool may_pass,
                                        TimePoint deadline) {
  while (true) {
    SKV_ASSIGN_OR_RETURN(std::optional<Received> received, TryReceiveMessage(fd, buffer, may_pass));
    if (received) return std::move(*received);
    SKV_RETURN_IF_ERROR(Annotate(PollUntil(fd, POLLIN, deadline), "session socket: receive"));
  }
}

}  // namespace

absl::Status PollUntil(int fd, short events, TimePoint deadline) {
  while (true) {
    // Rounded up: a wait that is too short by less than a millisecond would spin.
    const auto wait =
        std::chrono::ceil<milliseconds>(std::min<Duration>(TimeLeft(deadline), kMaxWait));
    pollfd polled = {fd, events, 0};
    const int num_ready = poll(&polled, 1, static_cast<int>(wait.count()));
    if (num_ready > 0) return absl::OkStatus();
    if (num_ready < 0 && errno != EINTR && errno != EAGAIN) return SocketError("poll");
    if (RealClock().Now() >= deadline) return DeadlineError("poll");
  }
}

absl::StatusOr<SessionSocket> SessionSocket::Connect(const std::string& path, TimePoint deadline) {
  SKV_ASSIGN_OR_RETURN(const sockaddr_un address, SocketAddress(path));
  Descriptor descriptor(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!descriptor.is_open()) return SocketError("socket");
  while (true) {
    LimitConnect(descriptor.get(), deadline);
    if (connect(descriptor.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) ==
        0) {
      return SessionSocket(std::move(descriptor));
    }
    if (errno != EAGAIN && errno != EINTR) return ConnectError(path);
    if (RealClock().Now() >= deadline) return DeadlineError(absl::StrCat("connect to ", path));
  }
}

SessionSocket::SessionSocket(Descriptor descriptor) : descriptor_(std::move(descriptor)) {
  SetFlags(descriptor_.get());
}

absl::StatusOr<bool> SessionSocket::TrySend(std::string_view frame, int passed_fd) {
  if (frame.empty() || frame.size() > kMaxFrameBytes) {
    return absl::InvalidArgumentError(absl::StrCat("session socket: the frame to send has ",
                                                   frame.size(), " bytes, expected 1 to ",
                                                   kMaxFrameBytes));
  }
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  iovec bytes = {const_cast<char*>(frame.data()), frame.size()};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  if (passed_fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = kOneDescriptorBytes;
    std::memcpy(CMSG_DATA(header), &passed_fd, sizeof(passed_fd));
  }
  ssize_t num_bytes = 0;
  do {
    num_bytes = sendmsg(fd(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (num_bytes < 0 && errno == EINTR);
  if (num_bytes >= 0) return true;  // packets are sent whole
  if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
  return SocketError("session socket: send");
}

absl::Status SessionSocket::Send(std::string_view frame, TimePoint deadline, int passed_fd) {
  while (true) {
    SKV_ASSIGN_OR_RETURN(const bool is_sent, TrySend(frame, passed_fd));
    if (is_sent) return absl::OkStatus();
    SKV_RETURN_IF_ERROR(Annotate(PollUntil(fd(), POLLOUT, deadline), "session socket: send"));
  }
}

absl::StatusOr<std::optional<std::string_view>> SessionSocket::TryReceive(FrameBuffer& buffer) {
  SKV_ASSIGN_OR_RETURN(const std::optional<Received> received,
                       TryReceiveMessage(fd(), buffer, false));
  if (!received) return std::nullopt;
  return std::string_view(buffer.data(), received->num_bytes);
}

absl::StatusOr<std::string_view> SessionSocket::Receive(FrameBuffer& buffer, TimePoint deadline) {
  SKV_ASSIGN_OR_RETURN(const Received received, ReceiveMessage(fd(), buffer, false, deadline));
  return std::string_view(buffer.data(), received.num_bytes);
}

absl::StatusOr<SessionSocket::FrameWithDescriptor> SessionSocket::ReceiveWelcome(
    FrameBuffer& buffer, TimePoint deadline) {
  SKV_ASSIGN_OR_RETURN(Received received, ReceiveMessage(fd(), buffer, true, deadline));
  return FrameWithDescriptor{{buffer.data(), received.num_bytes}, std::move(received.descriptor)};
}

absl::StatusOr<PeerCredentials> SessionSocket::peer_credentials() const {
  ucred credentials = {};
  socklen_t num_bytes = sizeof(credentials);
  if (getsockopt(fd(), SOL_SOCKET, SO_PEERCRED, &credentials, &num_bytes) != 0) {
    return SocketError("session socket: credentials of the peer");
  }
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

}  // namespace skv::kvstore
