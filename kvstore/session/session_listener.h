#pragma once
// The path where the clients of a store connect. One store at a time has it. Not thread-safe.

#include <sys/types.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "kvstore/session/descriptor.h"
#include "kvstore/session/session_socket.h"

namespace skv::kvstore {

class SessionListener {
 public:
  // Who may write to the socket may connect: `mode` of its file, which nobody can connect to
  // before it has that. The umask does not count.
  //   AlreadyExists       a live process listens at `path`; a dead one's socket is replaced
  //   NotFound            the folder is not there
  //   FailedPrecondition  something else than a socket lies there, or permissions are missing
  //   InvalidArgument     the path is empty or too long for a socket
  //   Unavailable         another process has kept the folder locked for a second
  static absl::StatusOr<SessionListener> Listen(const std::string& path, mode_t mode = 0600);
  SessionListener(SessionListener&&) = default;
  SessionListener& operator=(SessionListener&&) = delete;
  // Removes the socket's file unless another has taken its place.
  ~SessionListener();

  // A client that waits, or nullopt: poll says POLLIN when there is one.
  // ResourceExhausted: no descriptor or memory is left; the client waits on, and poll goes on
  // saying so, so pause before the next try.
  absl::StatusOr<std::optional<SessionSocket>> TryAccept();

  // To poll; stays this object's.
  int fd() const { return descriptor_.get(); }

 private:
  SessionListener(Descriptor descriptor, std::string path, dev_t device, ino_t inode);

  Descriptor descriptor_;
  std::string path_;
  dev_t device_;
  ino_t inode_;
};

}  // namespace skv::kvstore
