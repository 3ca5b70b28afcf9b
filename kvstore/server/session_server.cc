#include "kvstore/server/session_server.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "common/log.h"
#include "common/status.h"
#include "kvstore/session/socket_address.h"

namespace skv::kvstore {
namespace {

using std::chrono::milliseconds;

// A Get of 400 keys and its Release take about 80 us: a client that sends without pause holds up
// each of the others for so many frames a turn.
constexpr int kFramesPerTurn = 4;
constexpr int kEventsPerTurn = 64;
constexpr size_t kCommandsPerTurn = 4;
constexpr int kAcceptsPerTurn = 16;
// Of an idle loop's turns: its sign of life.
constexpr milliseconds kMaxWait{1000};
constexpr milliseconds kAcceptPause{200};

// Of epoll's events. Those of clients are larger: their generation is at least 1.
constexpr uint64_t kListenerTag = 0;
constexpr uint64_t kStopTag = 1;
constexpr uint64_t kCommandsTag = 2;

uint64_t TagOf(SessionHandler::ClientId id) { return id.index | uint64_t{id.generation} << 32; }
SessionHandler::ClientId ClientOf(uint64_t tag) {
  return {.index = static_cast<uint32_t>(tag), .generation = static_cast<uint32_t>(tag >> 32)};
}

absl::Status Control(int epoll, int operation, int fd, uint32_t events, uint64_t tag) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = tag;
  return epoll_ctl(epoll, operation, fd, &event) == 0 ? absl::OkStatus() : SocketError("epoll_ctl");
}

// An empty packet looks like the end of file to whoever receives it, and is not.
bool IsHungUp(int fd) {
  pollfd polled = {fd, POLLRDHUP, 0};
  return poll(&polled, 1, 0) == 1 && (polled.revents & (POLLRDHUP | POLLHUP)) != 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SessionServer>> SessionServer::Create(
    const SessionServerOptions& options, SessionListener listener, BlockStore* store,
    ServerStatus* status) {
  std::unique_ptr<SessionServer> server(
      new SessionServer(options, std::move(listener), store, status));
  SKV_RETURN_IF_ERROR(server->Register());
  return server;
}

SessionServer::SessionServer(const SessionServerOptions& options, SessionListener listener,
                             BlockStore* store, ServerStatus* status)
    : options_(options),
      store_(store),
      status_(status),
      listener_(std::move(listener)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      handler_(options.handler, store),
      admin_(store, options.handler.events, options.handler.tenants, &RealClock()),
      connections_(options.handler.max_clients),
      buffer_(std::make_unique<FrameBuffer>()) {}

absl::Status SessionServer::Register() {
  if (!epoll_.is_open() || !stop_.is_open()) return SocketError("epoll");
  SKV_RETURN_IF_ERROR(Control(epoll_.get(), EPOLL_CTL_ADD, stop_.get(), EPOLLIN, kStopTag));
  if (options_.commands != nullptr) {
    if (options_.commands->fd() < 0) return SocketError("eventfd");
    SKV_RETURN_IF_ERROR(
        Control(epoll_.get(), EPOLL_CTL_ADD, options_.commands->fd(), EPOLLIN, kCommandsTag));
  }
  return Control(epoll_.get(), EPOLL_CTL_ADD, listener_.fd(), EPOLLIN, kListenerTag);
}

void SessionServer::Stop() {
  is_stopping_ = true;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(stop_.get(), &one, sizeof(one));
}

absl::Status SessionServer::Run() {
  if (options_.commands != nullptr) options_.commands->Open();
  status_->SetServing(true);
  absl::Status status;
  while (status.ok() && !is_stopping_) {
    status = Turn();
    status_->Publish({.store = store_->gauges(),
                      .sessions = handler_.gauges(),
                      .tiers = options_.handler.tiers == nullptr ? TierDeskGauges()
                                                                 : options_.handler.tiers->gauges(),
                      .num_accept_pauses = num_accept_pauses_});
    status_->TurnEnds();
  }
  status_->SetServing(false);
  if (options_.commands != nullptr) options_.commands->Close();
  return status;
}

int SessionServer::WaitMs(TimePoint now) const {
  TimePoint until = now + kMaxWait;
  if (!greetings_.empty()) until = std::min(until, greetings_.front().deadline);
  if (accept_again_.has_value()) until = std::min(until, *accept_again_);
  until = std::min(until, handler_.NextDeadline());
  // Rounded up: a wait that is too short by less than a millisecond would spin.
  const auto wait = std::chrono::ceil<milliseconds>(std::max(until - now, Duration::zero()));
  return static_cast<int>(wait.count());
}

absl::Status SessionServer::Turn() {
  std::array<epoll_event, kEventsPerTurn> events;
  const int num_events =
      epoll_wait(epoll_.get(), events.data(), events.size(), WaitMs(RealClock().Now()));
  if (num_events < 0 && errno != EINTR) return SocketError("epoll_wait");
  now_ = RealClock().Now();
  for (int i = 0; i < num_events; ++i) {
    const uint64_t tag = events[i].data.u64;
    if (tag == kListenerTag) {
      OnListener();
    } else if (tag != kStopTag && tag != kCommandsTag) {
      OnClient(ClientOf(tag), events[i].events);
    }
  }
  CloseOverdue();
  store_->ExpirePins(now_);
  handler_.Expire(now_);
  RunCommands();
  for (const ClientId id : handler_.TakeNotified()) Flush(id);
  if (accept_again_.has_value() && now_ >= *accept_again_) {
    accept_again_.reset();
    return Control(epoll_.get(), EPOLL_CTL_MOD, listener_.fd(), EPOLLIN, kListenerTag);
  }
  return absl::OkStatus();
}

void SessionServer::OnListener() {
  for (int i = 0; i < kAcceptsPerTurn && !accept_again_.has_value(); ++i) {
    if (handler_.gauges().num_clients == options_.handler.max_clients) {
      SKV_LOG_EVERY_SECONDS(WARNING, 10) << "all " << options_.handler.max_clients
                                         << " places for clients are taken: new ones wait";
      return PauseAccept(TimePoint::max());
    }
    absl::StatusOr<std::optional<SessionSocket>> accepted = listener_.TryAccept();
    if (!accepted.ok()) {
      SKV_LOG_EVERY_SECONDS(WARNING, 10)
          << "new clients wait: " << accepted.status().ToString() << "; raise ulimit -n?";
      return PauseAccept(now_ + kAcceptPause);
    }
    if (!accepted->has_value()) return;
    Accept(**std::move(accepted));
  }
}

// The listener stays readable: without this the loop would spin.
void SessionServer::PauseAccept(TimePoint until) {
  accept_again_ = until;
  ++num_accept_pauses_;
  SKV_CHECK(Control(epoll_.get(), EPOLL_CTL_MOD, listener_.fd(), 0, kListenerTag).ok());
}

void SessionServer::Accept(SessionSocket socket) {
  const std::optional<ClientId> id = handler_.Connect();
  SKV_CHECK(id.has_value());
  const uint32_t events = EPOLLIN | EPOLLRDHUP;
  const absl::Status added = Control(epoll_.get(), EPOLL_CTL_ADD, socket.fd(), events, TagOf(*id));
  if (!added.ok()) {  // no memory in the kernel, or fs.epoll.max_user_watches
    SKV_LOG_EVERY_SECONDS(WARNING, 10) << "a client was refused: " << added.ToString();
    handler_.Disconnect(*id);
    return;
  }
  connections_[id->index] = {.socket = std::move(socket), .events = events};
  greetings_.push_back({now_ + options_.greeting_timeout, *id});
}

void SessionServer::OnClient(ClientId id, uint32_t events) {
  // An earlier event of this turn may have closed it.
  if (!handler_.IsConnected(id)) return;
  const bool is_hung_up = (events & (EPOLLRDHUP | EPOLLHUP)) != 0;
  if ((events & EPOLLOUT) != 0 && !is_hung_up) Flush(id);
  if (handler_.MayReceive(id)) {
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) Read(id);
  } else if (is_hung_up) {
    // What it sent before its end is not read: it did not read what it got before.
    Close(id);
  }
}

void SessionServer::Read(ClientId id) {
  SessionSocket& socket = *connections_[id.index].socket;
  for (int i = 0; i < kFramesPerTurn && handler_.MayReceive(id); ++i) {
    const auto received = socket.TryReceive(*buffer_);
    if (!received.ok()) return OnReceiveError(id, received.status());
    if (!received->has_value()) return;
    handler_.Receive(id, **received, now_);
    Flush(id);
  }
}

void SessionServer::OnReceiveError(ClientId id, const absl::Status& status) {
  if (IsHungUp(connections_[id.index].socket->fd())) return Close(id);
  handler_.Fail(id, absl::IsUnavailable(status)
                        ? absl::InvalidArgumentError("session: got an empty packet")
                        : status);
  Flush(id);
}

void SessionServer::Flush(ClientId id) {
  Connection& connection = connections_[id.index];
  while (const auto output = handler_.NextOutput(id)) {
    const absl::StatusOr<bool> sent =
        connection.socket->TrySend(output->frame, output->passes_arena ? options_.arena_fd : -1);
    // It may have shut down its reading side only, and then still holds its leases.
    if (!sent.ok()) {
      handler_.Silence(id);
      break;
    }
    if (!*sent) break;
    handler_.Sent(id);
  }
  if (handler_.HasFailed(id) && !handler_.NextOutput(id).has_value() && !connection.is_shut) {
    shutdown(connection.socket->fd(), SHUT_WR);
    connection.is_shut = true;
  }
  Watch(id);
}

void SessionServer::Watch(ClientId id) {
  Connection& connection = connections_[id.index];
  uint32_t events = EPOLLRDHUP;
  if (handler_.MayReceive(id)) events |= EPOLLIN;
  if (handler_.NextOutput(id).has_value()) events |= EPOLLOUT;
  if (events == connection.events) return;
  connection.events = events;
  SKV_CHECK(Control(epoll_.get(), EPOLL_CTL_MOD, connection.socket->fd(), events, TagOf(id)).ok());
}

void SessionServer::Close(ClientId id) {
  connections_[id.index] = {};
  handler_.Disconnect(id);
  // There is a place, and a descriptor, for a client that waits.
  if (accept_again_.has_value()) accept_again_ = now_;
}

void SessionServer::RunCommands() {
  if (options_.commands == nullptr) return;
  // What a command submits waits for the next turn.
  size_t num_left = std::min(kCommandsPerTurn, options_.commands->size());
  for (; num_left > 0 && options_.commands->RunNext(now_, &admin_); --num_left) {
    handler_.TellNews();
  }
}

void SessionServer::CloseOverdue() {
  const auto is_done = [this](const Greeting& greeting) {
    return !handler_.IsConnected(greeting.client) || handler_.HasSession(greeting.client);
  };
  // One that says nothing must not keep all that come after it here.
  if (greetings_.size() > 2 * connections_.size()) std::erase_if(greetings_, is_done);
  while (!greetings_.empty()) {
    const Greeting greeting = greetings_.front();
    if (!is_done(greeting)) {
      if (greeting.deadline > now_) return;
      Close(greeting.client);
    }
    greetings_.pop_front();
  }
}

}  // namespace skv::kvstore
