#include "common/admin_server.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>

#include "common/http_get.h"
#include "common/testing/status_matchers.h"

namespace skv {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// A raw connection to the server on loopback; reads time out after 60 s.
class Client {
 public:
  explicit Client(int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval limit{60, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~Client() { close(fd_); }

  void Send(const std::string& text) { send(fd_, text.data(), text.size(), MSG_NOSIGNAL); }

  // Everything until the server ends the connection.
  std::string ReadAll() {
    std::string text;
    char buffer[4096];
    ssize_t n;
    while ((n = recv(fd_, buffer, sizeof(buffer), 0)) > 0) text.append(buffer, n);
    return text;
  }

 private:
  const int fd_;
};

std::string Get(int port, const std::string& path, const std::string& method = "GET") {
  Client client(port);
  client.Send(method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  return client.ReadAll();
}

TEST(AdminServerTest, ServesEveryEndpoint) {
  Metrics metrics(MetricLabels{{"rank", "0"}});
  AddProcessMetrics(&metrics);
  AdminServerOptions options;
  options.metrics = &metrics;
  ASSERT_OK_AND_ASSIGN(const auto server, AdminServer::Start(options));
  ASSERT_GT(server->port(), 0);
  for (const char* path : {"/health", "/livez", "/readyz", "/livez?verbose=1"}) {
    EXPECT_THAT(Get(server->port(), path), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("ok\n")));
  }
  EXPECT_THAT(Get(server->port(), "/metrics"), AllOf(HasSubstr("text/plain; version=0.0.4"),
                                                     HasSubstr("skv_process_pid{rank=\"0\"}")));
  EXPECT_THAT(Get(server->port(), "/version"),
              HasSubstr("{\"version\":\"0.1.0\",\"pid\":" + std::to_string(getpid()) + "}"));
  EXPECT_THAT(Get(server->port(), "/etc/passwd"),
              AllOf(StartsWith("HTTP/1.1 404"), HasSubstr("/readyz")));
  EXPECT_THAT(Get(server->port(), "/health", "POST"), StartsWith("HTTP/1.1 405"));
}

TEST(AdminServerTest, AnswersHttpGet) {
  AdminServerOptions options;
  options.is_ready = [] { return absl::UnavailableError("loading"); };
  ASSERT_OK_AND_ASSIGN(auto server, AdminServer::Start(options));
  const int port = server->port();
  const auto get = [port](std::string_view path) {
    return HttpGet("127.0.0.1", port, path, std::chrono::seconds(60));
  };
  ASSERT_OK_AND_ASSIGN(const std::string body, get("/livez"));
  EXPECT_EQ(body, "ok\n");
  EXPECT_THAT(get("/readyz"), StatusIs(StatusCode::kUnavailable,
                                       AllOf(HasSubstr("/readyz"), HasSubstr("HTTP/1.1 503"))));
  server.reset();
  EXPECT_THAT(get("/livez"), StatusIs(StatusCode::kUnavailable, HasSubstr("no answer")));
}

TEST(HttpGetTest, GivesUpAtItsTimeout) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener, 1), 0);  // the kernel accepts; nobody ever answers
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  EXPECT_THAT(
      HttpGet("127.0.0.1", ntohs(address.sin_port), "/livez", std::chrono::milliseconds(50)),
      StatusIs(StatusCode::kUnavailable, HasSubstr("no answer within 50 ms")));
  close(listener);
}

TEST(AdminServerTest, HeadSendsTheHeaderOnly) {
  ASSERT_OK_AND_ASSIGN(const auto server, AdminServer::Start({}));
  const std::string reply = Get(server->port(), "/health", "HEAD");
  EXPECT_THAT(reply, AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("Content-Length: 3\r\n")));
  EXPECT_THAT(reply, testing::EndsWith("\r\n\r\n"));
}

TEST(AdminServerTest, LivenessAndReadinessFollowTheProgram) {
  std::atomic<bool> is_live{true}, is_ready{false};
  AdminServerOptions options;
  options.is_live = [&] {
    return is_live ? absl::OkStatus() : absl::InternalError("rank 1 stalled");
  };
  options.is_ready = [&] {
    return is_ready ? absl::OkStatus() : absl::UnavailableError("loading");
  };
  ASSERT_OK_AND_ASSIGN(const auto server, AdminServer::Start(options));
  EXPECT_THAT(Get(server->port(), "/livez"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(Get(server->port(), "/readyz"),
              AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("loading")));
  is_ready = true;
  EXPECT_THAT(Get(server->port(), "/readyz"), StartsWith("HTTP/1.1 200"));
  is_live = false;
  for (const char* path : {"/livez", "/health", "/readyz"}) {
    EXPECT_THAT(Get(server->port(), path),
                AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("rank 1 stalled")));
  }
}

TEST(AdminServerTest, PortInUseIsAClearError) {
  ASSERT_OK_AND_ASSIGN(const auto first, AdminServer::Start({}));
  AdminServerOptions options;
  options.port = first->port();
  EXPECT_THAT(AdminServer::Start(options),
              StatusIs(StatusCode::kUnavailable,
                       AllOf(HasSubstr("127.0.0.1:" + std::to_string(first->port())),
                             HasSubstr("in use"), HasSubstr("choose another port"))));
}

TEST(AdminServerTest, AddressAndPortAreChecked) {
  AdminServerOptions name;
  name.address = "localhost";
  EXPECT_THAT(AdminServer::Start(name),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("localhost")));
  AdminServerOptions high;
  high.port = 70000;
  EXPECT_THAT(AdminServer::Start(high), StatusIs(StatusCode::kInvalidArgument, HasSubstr("70000")));
}

TEST(AdminServerTest, OversizedAndMalformedRequestsAreRefused) {
  ASSERT_OK_AND_ASSIGN(const auto server, AdminServer::Start({}));
  const struct {
    const char* why;
    std::string request;
    const char* reply;
  } kCases[] = {
      {"long header", "GET / HTTP/1.1\r\nX: " + std::string(100'000, 'x'), "HTTP/1.1 413"},
      {"long body", "POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n", "HTTP/1.1 413"},
      {"not HTTP", "\x16\x03\x01 hello\r\n\r\n", "HTTP/1.1 400"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    Client client(server->port());
    client.Send(c.request);
    EXPECT_THAT(client.ReadAll(), StartsWith(c.reply));
  }
  EXPECT_THAT(Get(server->port(), "/health"), StartsWith("HTTP/1.1 200"));
}

TEST(AdminServerTest, SlowClientIsCutOffAtTheTimeout) {
  AdminServerOptions options;
  options.request_timeout = std::chrono::milliseconds(100);
  ASSERT_OK_AND_ASSIGN(const auto server, AdminServer::Start(options));
  Client slow(server->port());
  slow.Send("GET /health HT");
  EXPECT_EQ(slow.ReadAll(), "");
}

TEST(AdminServerTest, ManyIdleClientsDoNotKeepAHealthCheckOut) {
  AdminServerOptions options;
  options.max_connections = 4;
  options.request_timeout = std::chrono::seconds(60);
  ASSERT_OK_AND_ASSIGN(const auto server, AdminServer::Start(options));
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 20; ++i) idle.push_back(std::make_unique<Client>(server->port()));
  EXPECT_THAT(Get(server->port(), "/health"), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(idle.front()->ReadAll(), "") << "the oldest makes room";
}

TEST(AdminServerTest, StopsWhileClientsAreConnected) {
  ASSERT_OK_AND_ASSIGN(auto server, AdminServer::Start({}));
  Client idle(server->port());
  server.reset();
  EXPECT_EQ(idle.ReadAll(), "");
}

}  // namespace
}  // namespace skv
