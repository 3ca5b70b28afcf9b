#include "common/admin_server.h"

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <list>
#include <thread>
#include <utility>  // before Asio: Boost 1.74 lacks the include

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"
#include "common/version.h"

namespace skv {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using Request = http::request<http::string_body>;
using Response = http::response<http::string_body>;

constexpr size_t kMaxHeaderBytes = 8 << 10;
constexpr size_t kMaxBodyBytes = 1 << 10;
// Out of descriptors, say: accepting again at once would spin.
constexpr std::chrono::milliseconds kAcceptRetry{100};

Response Reply(http::status status, std::string_view type, std::string body) {
  Response response{status, 11};
  response.set(http::field::content_type, beast::string_view(type.data(), type.size()));
  response.keep_alive(false);
  response.body() = std::move(body);
  response.prepare_payload();
  return response;
}

Response ReplyState(const absl::Status& state) {
  if (state.ok()) return Reply(http::status::ok, "text/plain", "ok\n");
  return Reply(http::status::service_unavailable, "text/plain",
               absl::StrCat(state.ToString(), "\n"));
}

absl::Status StateOf(const std::function<absl::Status()>& check) {
  return check ? check() : absl::OkStatus();
}

Response Answer(const AdminServerOptions& options, const Request& request) {
  if (request.method() != http::verb::get && request.method() != http::verb::head) {
    return Reply(http::status::method_not_allowed, "text/plain", "only GET and HEAD\n");
  }
  const beast::string_view path = request.target().substr(0, request.target().find('?'));
  if (path == "/metrics") {
    return Reply(http::status::ok, "text/plain; version=0.0.4",
                 options.metrics == nullptr ? "" : options.metrics->Serialize());
  }
  if (path == "/livez" || path == "/health") return ReplyState(StateOf(options.is_live));
  if (path == "/readyz") {
    const absl::Status live = StateOf(options.is_live);
    return ReplyState(live.ok() ? StateOf(options.is_ready) : live);
  }
  if (path == "/version") {
    return Reply(http::status::ok, "application/json",
                 absl::StrCat("{\"version\":\"", Sv(Version()), "\",\"pid\":", getpid(), "}\n"));
  }
  return Reply(http::status::not_found, "text/plain",
               "there is /health /livez /readyz /metrics /version\n");
}

// One connection: reads one request, writes one reply, ends. Kept alive by its pending operation.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(asio::ip::tcp::socket socket, const AdminServerOptions& options)
      : stream_(std::move(socket)), options_(options) {
    parser_.header_limit(kMaxHeaderBytes);
    parser_.body_limit(kMaxBodyBytes);
  }

  // `on_end` runs once, when the session has done its last.
  void Run(std::function<void()> on_end) {
    on_end_ = std::move(on_end);
    stream_.expires_after(options_.request_timeout);
    http::async_read(
        stream_, buffer_, parser_,
        [self = shared_from_this()](error_code error, size_t) { self->OnRequest(error); });
  }

  void Close() { stream_.close(); }

 private:
  void OnRequest(error_code error) {
    if (error == http::error::header_limit || error == http::error::body_limit ||
        error == http::error::buffer_overflow) {
      response_ = Reply(http::status::payload_too_large, "text/plain", "request too large\n");
    } else if (error &&
               error.category() == http::make_error_code(http::error::bad_method).category() &&
               error != http::error::end_of_stream && error != http::error::partial_message) {
      response_ = Reply(http::status::bad_request, "text/plain", "not HTTP/1.1\n");
    } else if (error) {
      return on_end_();
    } else {
      response_ = Answer(options_, parser_.get());
      // The length of the body that GET would send, and no body.
      if (parser_.get().method() == http::verb::head) response_.body().clear();
    }
    http::async_write(stream_, response_, [self = shared_from_this()](error_code, size_t) {
      error_code ignored;
      self->stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
      self->on_end_();
    });
  }

  beast::tcp_stream stream_;
  const AdminServerOptions& options_;
  std::function<void()> on_end_;
  beast::flat_buffer buffer_{kMaxHeaderBytes + kMaxBodyBytes};
  http::request_parser<http::string_body> parser_;
  Response response_;
};

class BeastAdminServer : public AdminServer {
 public:
  explicit BeastAdminServer(const AdminServerOptions& options) : options_(options) {}

  ~BeastAdminServer() override {
    context_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Listen() {
    error_code error;
    const auto address = asio::ip::make_address(options_.address, error);
    if (error || options_.port < 0 || options_.port > 65535) {
      return absl::InvalidArgumentError(
          absl::StrCat("admin server: cannot listen on ", options_.address, ":", options_.port,
                       ": expected an IP address and a port from 0 to 65535"));
    }
    const asio::ip::tcp::endpoint endpoint(address, static_cast<uint16_t>(options_.port));
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(asio::ip::tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      return absl::UnavailableError(
          absl::StrCat("admin server: cannot listen on ", options_.address, ":", options_.port,
                       ": ", error.message(), ": choose another port, or 0 for any"));
    }
    port_ = acceptor_.local_endpoint(error).port();
    Accept();
    thread_ = std::thread([this] { context_.run(); });
    return absl::OkStatus();
  }

  int port() const override { return port_; }

 private:
  using Sessions = std::list<std::shared_ptr<Session>>;

  void Accept() {
    acceptor_.async_accept([this](error_code error, asio::ip::tcp::socket socket) {
      if (error) return AcceptLater();
      Serve(std::move(socket));
      Accept();
    });
  }

  void AcceptLater() {
    retry_.expires_after(kAcceptRetry);
    retry_.async_wait([this](error_code error) {
      if (!error) Accept();
    });
  }

  // Making room by ending the oldest keeps health checks working while slow clients hold the rest.
  void Serve(asio::ip::tcp::socket socket) {
    if (sessions_.size() >= static_cast<size_t>(std::max(1, options_.max_connections))) {
      sessions_.front()->Close();
      sessions_.pop_front();
    }
    auto session = std::make_shared<Session>(std::move(socket), options_);
    sessions_.push_back(session);
    session->Run([this, weak = std::weak_ptr<Session>(session)] { sessions_.remove(weak.lock()); });
  }

  const AdminServerOptions options_;
  asio::io_context context_{1};
  asio::ip::tcp::acceptor acceptor_{context_};
  asio::steady_timer retry_{context_};
  Sessions sessions_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::Start(const AdminServerOptions& options) {
  auto server = std::make_unique<BeastAdminServer>(options);
  SKV_RETURN_IF_ERROR(server->Listen());
  return server;
}

}  // namespace skv
