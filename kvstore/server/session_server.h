#pragma once
// The thread of the sessions: moves frames between sockets and the session handler.
//
// A session ends when the kernel says that the client's end is closed (hang-up, or end of file),
// and for no other reason: not for an Error, after which only that is waited for, and not with
// time. Only a client that has no session yet, so holds nothing and does not know the arena, is
// closed after `greeting_timeout`.
//
// Nobody waits for a client: one whose socket is full is not read from until it has read, and a
// client that is read from gets a few frames a turn before the others have theirs. So it is with
// the commands of other threads: a few of them a turn. New clients wait
// in the kernel's queue while there are as many as may be, or no descriptor is left.

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "kvstore/server/command_queue.h"
#include "kvstore/server/server_status.h"
#include "kvstore/server/session_handler.h"
#include "kvstore/server/store_admin.h"
#include "kvstore/session/descriptor.h"
#include "kvstore/session/session_listener.h"
#include "kvstore/session/session_socket.h"

namespace skv::kvstore {

struct SessionServerOptions {
  SessionHandlerOptions handler;
  int arena_fd = -1;  // what clients map; stays the caller's
  Duration greeting_timeout = std::chrono::seconds(10);
  // What others want of the store (open while the server runs); outlives the server. nullptr:
  // nothing. Needs handler.events.
  CommandQueue* commands = nullptr;
};

class SessionServer {
 public:
  // `store` and `status` outlive the server; `store` is used by Run's thread only. Clients can
  // connect, and wait for Run. ResourceExhausted: no descriptors are left.
  static absl::StatusOr<std::unique_ptr<SessionServer>> Create(const SessionServerOptions& options,
                                                               SessionListener listener,
                                                               BlockStore* store,
                                                               ServerStatus* status);
  SessionServer(const SessionServer&) = delete;
  SessionServer& operator=(const SessionServer&) = delete;

  // Serves until Stop; one thread, once. What was received is answered then, and all sockets close
  // with this object. Internal: the kernel's event queue failed.
  absl::Status Run();

  // Thread-safe; before Run, too.
  void Stop();

 private:
  using ClientId = SessionHandler::ClientId;
  struct Connection {
    std::optional<SessionSocket> socket;
    uint32_t events = 0;  // that epoll looks for
    bool is_shut = false;
  };
  struct Greeting {
    TimePoint deadline;
    ClientId client;
  };

  SessionServer(const SessionServerOptions& options, SessionListener listener, BlockStore* store,
                ServerStatus* status);
  absl::Status Register();
  absl::Status Turn();
  int WaitMs(TimePoint now) const;
  void OnListener();
  void Accept(SessionSocket socket);
  void PauseAccept(TimePoint until);
  void OnClient(ClientId id, uint32_t events);
  void Read(ClientId id);
  void OnReceiveError(ClientId id, const absl::Status& status);
  void Flush(ClientId id);
  void Watch(ClientId id);
  void Close(ClientId id);
  void CloseOverdue();
  void RunCommands();

  const SessionServerOptions options_;
  BlockStore* const store_;
  ServerStatus* const status_;
  SessionListener listener_;
  Descriptor epoll_;
  Descriptor stop_;  // readable once Stop was called
  SessionHandler handler_;
  StoreAdmin admin_;
  std::vector<Connection> connections_;    // by the client's index
  std::deque<Greeting> greetings_;         // by deadline; in part of clients that are done
  std::optional<TimePoint> accept_again_;  // nullopt: the listener is watched
  std::unique_ptr<FrameBuffer> buffer_;
  std::atomic<bool> is_stopping_{false};
  TimePoint now_;  // of this turn
  uint64_t num_accept_pauses_ = 0;
};

}  // namespace skv::kvstore
