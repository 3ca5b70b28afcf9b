#include "common/http_get.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/status.h"

namespace skv {
namespace {

using std::chrono::microseconds;

class Socket {
 public:
  explicit Socket(TimePoint deadline)
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), deadline_(deadline) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // Each is false when it failed or the deadline has passed.
  bool Connect(const std::string& host, int port) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    return inet_pton(AF_INET, host.c_str(), &address.sin_addr) == 1 && LimitNextCall() &&
           connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  bool Send(const std::string& text) {
    return LimitNextCall() &&
           send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  bool ReceiveAll(std::string* text) {
    char buffer[4096];
    while (LimitNextCall()) {
      const ssize_t size = recv(fd_, buffer, sizeof(buffer), 0);
      if (size <= 0) return size == 0;
      text->append(buffer, size);
    }
    return false;
  }

 private:
  bool LimitNextCall() {
    const auto left = std::chrono::duration_cast<microseconds>(deadline_ - RealClock().Now());
    if (left <= microseconds(0)) return false;
    const timeval limit{left.count() / 1'000'000, left.count() % 1'000'000};
    return setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
           setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0;
  }

  const int fd_;
  const TimePoint deadline_;
};

}  // namespace

absl::StatusOr<std::string> HttpGet(const std::string& host, int port, std::string_view path,
                                    std::chrono::milliseconds timeout) {
  constexpr char kHeaderEnd[] = "\r\n\r\n";
  Socket socket(RealClock().Now() + timeout);
  std::string reply;
  const bool answered = socket.Connect(host, port) &&
                        socket.Send(absl::StrCat("GET ", Sv(path), " HTTP/1.1\r\nHost: ", host,
                                                 "\r\nConnection: close\r\n\r\n")) &&
                        socket.ReceiveAll(&reply);
  const size_t header_end = reply.find(kHeaderEnd);
  if (answered && absl::StartsWith(reply, "HTTP/1.1 200") && header_end != reply.npos) {
    return reply.substr(header_end + 4);
  }
  return absl::UnavailableError(absl::StrCat(
      "http://", host, ":", port, Sv(path), ": ",
      answered
          ? absl::StrCat("got \"", reply.substr(0, reply.find('\r')), "\", expected status 200")
          : absl::StrCat("no answer within ", timeout.count(), " ms")));
}

}  // namespace skv
