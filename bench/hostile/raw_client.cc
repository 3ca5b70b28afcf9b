#include "bench/hostile/raw_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/status.h"
#include "kvstore/server/testing/sentences.h"
#include "kvstore/session/socket_address.h"

namespace skv::hostile {
namespace {

using kvstore::Frame;
using kvstore::SessionSocket;

TimePoint Patience() { return RealClock().Now() + std::chrono::minutes(1); }

// One for all: what is received is decoded at once.
kvstore::FrameBuffer& Buffer() {
  static auto* const buffer = new kvstore::FrameBuffer;
  return *buffer;
}

}  // namespace

absl::StatusOr<RawClient> RawClient::Connect(const std::string& socket) {
  SKV_ASSIGN_OR_RETURN(SessionSocket connected, SessionSocket::Connect(socket, Patience()));
  return RawClient(std::move(connected));
}

absl::StatusOr<RawClient> RawClient::Open(const std::string& socket, kvstore::Descriptor* arena) {
  SKV_ASSIGN_OR_RETURN(RawClient client, Connect(socket));
  SKV_ASSIGN_OR_RETURN(const std::string hello, kvstore::EncodeFrame({0, kvstore::TestHello()}));
  SKV_RETURN_IF_ERROR(client.Send(hello));
  SKV_ASSIGN_OR_RETURN(auto welcome, client.socket_.ReceiveWelcome(Buffer(), Patience()));
  SKV_ASSIGN_OR_RETURN(const Frame frame, kvstore::DecodeFrame(welcome.frame));
  if (const auto* error = std::get_if<kvstore::Error>(&frame.body)) {
    return absl::Status(error->code, error->message);
  }
  if (!std::holds_alternative<kvstore::Welcome>(frame.body)) {
    return absl::InternalError(absl::StrCat("Hello was answered by a ", Sv(FrameName(frame.body))));
  }
  if (arena != nullptr) *arena = std::move(welcome.descriptor);
  return client;
}

absl::Status RawClient::Send(std::string_view frame, int passed_fd) {
  return socket_.Send(frame, Patience(), passed_fd);
}

absl::Status RawClient::SendPacket(std::string_view bytes) {
  SKV_RETURN_IF_ERROR(kvstore::PollUntil(socket_.fd(), POLLOUT, Patience()));
  const ssize_t sent = send(socket_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(bytes.size())) return kvstore::SocketError("send");
  return absl::OkStatus();
}

absl::StatusOr<Frame> RawClient::Receive() {
  SKV_ASSIGN_OR_RETURN(const std::string_view bytes, socket_.Receive(Buffer(), Patience()));
  return kvstore::DecodeFrame(bytes);
}

}  // namespace skv::hostile
