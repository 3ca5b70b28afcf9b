#pragma once
// A connection to a store over which anything is sent. Waits for a minute at most. Not thread-safe.

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/session/frames.h"
#include "kvstore/session/session_socket.h"

namespace skv::hostile {

class RawClient {
 public:
  // Connected, and nothing said. Errors of SessionSocket::Connect.
  static absl::StatusOr<RawClient> Connect(const std::string& socket);
  // Welcomed, too; `arena` gets the arena's descriptor unless it is nullptr. The store's refusal,
  // with its code.
  static absl::StatusOr<RawClient> Open(const std::string& socket,
                                        kvstore::Descriptor* arena = nullptr);

  absl::Status Send(std::string_view frame, int passed_fd = -1);
  // Of any size, none included.
  absl::Status SendPacket(std::string_view bytes);
  // Unavailable: the store has closed.
  absl::StatusOr<kvstore::Frame> Receive();

  kvstore::SessionSocket& socket() { return socket_; }

 private:
  explicit RawClient(kvstore::SessionSocket socket) : socket_(std::move(socket)) {}

  kvstore::SessionSocket socket_;
};

}  // namespace skv::hostile
