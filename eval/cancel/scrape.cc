#include "eval/cancel/scrape.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status.h"

namespace skv::eval {
namespace {

class Socket {
 public:
  Socket() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

// The whole reply to one GET; empty when anything fails.
std::string Get(int port, const std::string& path) {
  const Socket socket;
  const timeval timeout{20, 0};
  setsockopt(socket.fd(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  setsockopt(socket.fd(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string request =
      absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  if (connect(socket.fd(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      send(socket.fd(), request.data(), request.size(), MSG_NOSIGNAL) !=
          static_cast<ssize_t>(request.size())) {
    return "";
  }
  std::string reply;
  char buffer[4096];
  ssize_t size = 0;
  while ((size = recv(socket.fd(), buffer, sizeof(buffer), 0)) > 0) reply.append(buffer, size);
  return size == 0 ? reply : "";
}

}  // namespace

absl::StatusOr<MetricValues> ScrapeMetrics(int port) {
  const std::string reply = Get(port, "/metrics");
  if (!absl::StartsWith(reply, "HTTP/1.1 200")) {
    return absl::UnavailableError(absl::StrCat("http://127.0.0.1:", port, "/metrics: got \"",
                                               reply.substr(0, reply.find('\r')),
                                               "\", expected status 200"));
  }
  MetricValues values;
  for (const absl::string_view line : absl::StrSplit(reply, absl::ByAnyChar("\r\n"))) {
    const size_t space = line.rfind(' ');
    double value = 0;
    if (!absl::StartsWith(line, "#") && space != line.npos &&
        absl::SimpleAtod(line.substr(space + 1), &value)) {
      values[std::string(line.substr(0, space))] = value;
    }
  }
  return values;
}

absl::StatusOr<double> SumOf(const MetricValues& values, std::string_view name,
                             std::string_view label) {
  double sum = 0;
  bool found = false;
  for (const auto& [series, value] : values) {
    const std::string_view series_name = std::string_view(series).substr(0, series.find('{'));
    if (series_name != name || !absl::StrContains(series, Sv(label))) continue;
    sum += value;
    found = true;
  }
  if (!found) return absl::NotFoundError(absl::StrCat("no process exports ", Sv(name), Sv(label)));
  return sum;
}

}  // namespace skv::eval
