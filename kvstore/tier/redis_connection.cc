#include "kvstore/tier/redis_connection.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::kvstore {
namespace {

constexpr std::string_view kUnixPrefix = "unix://";
constexpr size_t kReceiveBytes = 256 << 10;
constexpr size_t kMaxPiecesPerSend = 512;

absl::Status AddressError(std::string_view text, std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("redis tier: address \"", Sv(text), "\": ", Sv(what),
                   "; expected host:port, [address]:port or unix:///path"));
}

struct Endpoint {
  sockaddr_storage address = {};
  socklen_t size = 0;
};

absl::StatusOr<std::vector<Endpoint>> Resolve(const RedisAddress& address) {
  std::vector<Endpoint> endpoints;
  if (!address.path.empty()) {
    Endpoint endpoint;
    auto* unix_address = reinterpret_cast<sockaddr_un*>(&endpoint.address);
    unix_address->sun_family = AF_UNIX;
    std::memcpy(unix_address->sun_path, address.path.data(), address.path.size());
    endpoint.size = sizeof(sockaddr_un);
    return std::vector{endpoint};
  }
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int error = getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &list);
      error != 0) {
    return absl::UnavailableError(
        absl::StrCat("redis tier: cannot resolve ", address.ToString(), ": ", gai_strerror(error)));
  }
  for (const addrinfo* info = list; info != nullptr; info = info->ai_next) {
    Endpoint& endpoint = endpoints.emplace_back();
    endpoint.size = std::min<socklen_t>(info->ai_addrlen, sizeof(endpoint.address));
    std::memcpy(&endpoint.address, info->ai_addr, endpoint.size);
  }
  freeaddrinfo(list);
  return endpoints;
}

}  // namespace

absl::StatusOr<RedisAddress> RedisAddress::Parse(std::string_view text) {
  RedisAddress address;
  if (text.find('\0') != std::string_view::npos) return AddressError(text, "has a zero inside");
  if (text.starts_with(kUnixPrefix)) {
    address.path = text.substr(kUnixPrefix.size());
    if (!address.path.starts_with('/')) return AddressError(text, "the path is not absolute");
    if (address.path.size() >= sizeof(sockaddr_un::sun_path)) {
      return AddressError(text, "the path is longer than the 107 bytes of a socket's");
    }
    return address;
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return AddressError(text, "has no port");
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return AddressError(text, "more than one colon");
  }
  if (host.empty()) return AddressError(text, "has no host");
  const bool is_number = !port.empty() && port.size() <= 5 &&
                         port.find_first_not_of("0123456789") == std::string_view::npos;
  const int number = is_number ? std::stoi(std::string(port)) : 0;
  if (number < 1 || number > 65535) return AddressError(text, "the port is not in 1 to 65535");
  address.host = host;
  address.port = port;
  return address;
}

std::string RedisAddress::ToString() const {
  if (!path.empty()) return absl::StrCat(Sv(kUnixPrefix), path);
  return absl::StrCat(host, ":", port);
}

void RedisPipeline::Append(const std::vector<std::string_view>& arguments,
                           std::optional<std::span<const std::byte>> value) {
  Command& command = commands_.emplace_back();
  const size_t num_arguments = arguments.size() + (value ? 1 : 0);
  absl::StrAppend(&command.front, "*", num_arguments, "\r\n");
  for (const std::string_view argument : arguments) {
    absl::StrAppend(&command.front, "$", argument.size(), "\r\n", Sv(argument), "\r\n");
  }
  if (value) absl::StrAppend(&command.front, "$", value->size(), "\r\n");
  command.value = value;
}

std::vector<iovec> RedisPipeline::pieces() const {
  static constexpr char kLineEnd[] = {'\r', '\n'};
  std::vector<iovec> pieces;
  pieces.reserve(3 * commands_.size());
  const auto append = [&](const void* bytes, size_t size) {
    pieces.push_back({const_cast<void*>(bytes), size});  // sendmsg only reads it
  };
  for (const Command& command : commands_) {
    append(command.front.data(), command.front.size());
    if (!command.value) continue;
    append(command.value->data(), command.value->size());
    append(kLineEnd, sizeof(kLineEnd));
  }
  return pieces;
}

absl::StatusOr<std::unique_ptr<RedisConnection>> RedisConnection::Connect(
    const RedisAddress& address, Duration timeout, TimePoint deadline) {
  SKV_ASSIGN_OR_RETURN(const std::vector<Endpoint> endpoints, Resolve(address));
  absl::Status last =
      absl::UnavailableError(absl::StrCat("redis tier: ", address.ToString(), " has no address"));
  for (const Endpoint& endpoint : endpoints) {
    const int fd =
        socket(endpoint.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      last = absl::UnavailableError(absl::StrCat("redis tier: socket: ", std::strerror(errno)));
      continue;
    }
    std::unique_ptr<RedisConnection> connection(
        new RedisConnection(fd, address.ToString(), timeout));
    if (endpoint.address.ss_family != AF_UNIX) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    const auto* target = reinterpret_cast<const sockaddr*>(&endpoint.address);
    if (connect(fd, target, endpoint.size) == 0) return connection;
    last = errno == EINPROGRESS ? connection->FinishConnecting(deadline)
                                : connection->Error(std::strerror(errno));
    if (last.ok()) return connection;
  }
  return last;
}

RedisConnection::~RedisConnection() { close(fd_); }

absl::Status RedisConnection::Error(std::string_view what) const {
  return absl::UnavailableError(absl::StrCat("redis tier: ", name_, ": ", Sv(what)));
}

absl::Status RedisConnection::FinishConnecting(TimePoint deadline) {
  SKV_RETURN_IF_ERROR(Poll(POLLOUT, deadline).status());
  int error = 0;
  socklen_t size = sizeof(error);
  if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  return error == 0 ? absl::OkStatus() : Error(std::strerror(error));
}

// What has become possible of `events`.
absl::StatusOr<short> RedisConnection::Poll(short events, TimePoint deadline) {
  const TimePoint until = std::min(deadline, RealClock().Now() + timeout_);
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - RealClock().Now());
    pollfd entry = {.fd = fd_, .events = events, .revents = 0};
    const int num_ready = poll(&entry, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (num_ready > 0) return entry.revents;
    if (num_ready == 0 && left.count() <= 0) return Error("no answer in time");
    if (num_ready < 0 && errno != EINTR) return Error(std::strerror(errno));
  }
}

bool RedisConnection::IsIdle() const {
  char byte = 0;
  const ssize_t received = recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

absl::StatusOr<std::vector<RedisReply>> RedisConnection::Exchange(const RedisPipeline& pipeline,
                                                                  TimePoint deadline) {
  std::vector<iovec> pieces = pipeline.pieces();
  size_t begin = 0;  // of the pieces that are not sent
  std::vector<RedisReply> replies;
  while (replies.size() < pipeline.num_replies()) {
    const short wanted = begin < pieces.size() ? POLLIN | POLLOUT : POLLIN;
    SKV_ASSIGN_OR_RETURN(const short ready, Poll(wanted, deadline));
    if (RealClock().Now() >= deadline) return Error("no answer in time");
    if ((ready & POLLOUT) != 0) SKV_RETURN_IF_ERROR(SendSome(&pieces, &begin));
    if ((ready & ~POLLOUT) == 0) continue;
    SKV_RETURN_IF_ERROR(ReceiveSome());
    while (replies.size() < pipeline.num_replies()) {
      auto reply = reader_.Next();
      if (!reply.ok()) return Error(StdSv(reply.status().message()));
      if (!reply->has_value()) break;
      replies.push_back(*std::move(*reply));
    }
  }
  if (begin < pieces.size() || !reader_.IsEmpty()) {
    return Error("the server answers what it was not asked; is it a Redis?");
  }
  return replies;
}

absl::Status RedisConnection::SendSome(std::vector<iovec>* pieces, size_t* begin) {
  msghdr message = {};
  message.msg_iov = pieces->data() + *begin;
  message.msg_iovlen = std::min(pieces->size() - *begin, kMaxPiecesPerSend);
  const ssize_t result = sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (result < 0) {
    if (errno == EAGAIN || errno == EINTR) return absl::OkStatus();
    return Error(std::strerror(errno));
  }
  size_t sent = static_cast<size_t>(result);
  while (*begin < pieces->size() && sent >= (*pieces)[*begin].iov_len) {
    sent -= (*pieces)[(*begin)++].iov_len;
  }
  if (sent > 0) {
    iovec& piece = (*pieces)[*begin];
    piece.iov_base = static_cast<char*>(piece.iov_base) + sent;
    piece.iov_len -= sent;
  }
  return absl::OkStatus();
}

absl::Status RedisConnection::ReceiveSome() {
  buffer_.resize(kReceiveBytes);
  const ssize_t received = recv(fd_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (received > 0) {
    return reader_.Feed({buffer_.data(), static_cast<size_t>(received)});
  }
  if (received == 0) return Error("the server has closed the connection");
  if (errno == EAGAIN || errno == EINTR) return absl::OkStatus();
  return Error(std::strerror(errno));
}

}  // namespace skv::kvstore
