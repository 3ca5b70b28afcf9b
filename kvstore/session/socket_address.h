#pragma once
// What connecting and listening share.

#include <sys/un.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace skv::kvstore {

// InvalidArgument: empty, with a zero inside, or longer than the 107 bytes that a socket's path
// may have.
absl::StatusOr<sockaddr_un> SocketAddress(std::string_view path);

// "what: text of errno".
std::string ErrnoText(std::string_view what);
// The statuses of session_socket.h for `errno` of a socket call.
absl::Status SocketError(std::string_view what);

}  // namespace skv::kvstore
