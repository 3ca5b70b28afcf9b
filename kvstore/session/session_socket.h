#pragma once
// One end of a session: a unix-domain socket of packets (SOCK_SEQPACKET), each of which is one
// frame. Knows nothing of what frames mean. The kernel closes the socket when its process ends,
// however it ends, and that is what ends a session.
//
// Descriptors come in by ReceiveWelcome only. Whatever else a peer passes along never enters this
// process, so no peer can fill up its table of descriptors. A peer gone is no signal (SIGPIPE).
//
// Errors of all calls on a socket:
//   Unavailable        the peer has closed, or was killed
//   DeadlineExceeded   nothing was sent or received; the socket may be used further
//   InvalidArgument    of Send: the frame is empty or above kMaxFrameBytes; nothing was sent. Of
//                      Receive: the peer sent such a one, or a descriptor: close the socket
//   ResourceExhausted  the kernel has no memory or room for it
//   Internal           any other error of the kernel
// Not thread-safe, but one thread may send while another receives.

#include <sys/types.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "kvstore/session/descriptor.h"
#include "kvstore/session/frame_types.h"

namespace skv::kvstore {

// Room for any frame. One serves all sockets of a thread.
using FrameBuffer = std::array<char, kMaxFrameBytes>;

struct PeerCredentials {  // as the kernel noted them when the peer connected, or listened
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

class SessionSocket {
 public:
  // Waits also while the store's queue of new clients is full.
  // Unavailable: nobody listens at `path`. FailedPrecondition: what is there cannot be used.
  // InvalidArgument: the path is empty or too long for a socket. DeadlineExceeded.
  static absl::StatusOr<SessionSocket> Connect(const std::string& path, TimePoint deadline);

  // A connected end, e.g. from accept or socketpair; made non-blocking and closed on exec.
  explicit SessionSocket(Descriptor descriptor);

  // Waits until the frame is in the kernel's hands. A duplicate of `passed_fd`, unless that is -1,
  // goes along.
  absl::Status Send(std::string_view frame, TimePoint deadline, int passed_fd = -1);
  // False: the peer reads too slowly; try again when poll says POLLOUT.
  absl::StatusOr<bool> TrySend(std::string_view frame, int passed_fd = -1);

  // The next frame lies in `buffer` and lives as long as that is left alone.
  absl::StatusOr<std::string_view> Receive(FrameBuffer& buffer, TimePoint deadline);
  // nullopt: there is none; poll says POLLIN when there is one, or when the peer has closed.
  absl::StatusOr<std::optional<std::string_view>> TryReceive(FrameBuffer& buffer);

  struct FrameWithDescriptor {
    std::string_view frame;
    Descriptor descriptor;  // none when the peer sent none; closed on exec
  };
  // InvalidArgument: more than one descriptor came, or it found no place in this process.
  absl::StatusOr<FrameWithDescriptor> ReceiveWelcome(FrameBuffer& buffer, TimePoint deadline);

  absl::StatusOr<PeerCredentials> peer_credentials() const;

  // To poll; stays this object's. -1 once moved from.
  int fd() const { return descriptor_.get(); }

 private:
  Descriptor descriptor_;
};

// A poll of one descriptor until `events`, an error or hang-up are there.
// DeadlineExceeded: at `deadline` there was nothing; it is looked at once at least.
absl::Status PollUntil(int fd, short events, TimePoint deadline);

}  // namespace skv::kvstore
