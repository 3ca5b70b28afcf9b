#pragma once
// Follows one store over gRPC for as long as it lives: calls Watch, goes on where it was when a
// call ends, and calls again, later and later while nobody answers. Thread-safe.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "common/clock.h"
#include "kvstore/watch/watch_mirror.h"

namespace skv::kvstore {

struct WatchClientOptions {
  std::string address;  // host:port
  // Between the end of a call and the next one; doubles from the first to the second while calls
  // end before their first message.
  Duration min_backoff = std::chrono::milliseconds(100);
  Duration max_backoff = std::chrono::seconds(5);
};

// A snapshot; totals are since the start.
struct WatchClientStatus {
  // The listener has all that the store has announced, but for what is under way. Stays true while
  // the store cannot be reached: what the listener has may be old then.
  bool is_complete = false;
  bool is_connected = false;  // the call that runs has brought a message
  uint64_t num_calls = 0;
  uint64_t num_snapshots = 0;
  absl::Status last_error;  // of the last call that has ended
};

class WatchClient {
 public:
  // Begins at once. `listener` is called on gRPC's threads, by one at a time, until this object is
  // gone; it must be quick and must not call this object.
  WatchClient(const WatchClientOptions& options, WatchListener* listener);
  // Ends the call and waits for its end. Not from gRPC's callbacks.
  ~WatchClient();
  WatchClient(const WatchClient&) = delete;
  WatchClient& operator=(const WatchClient&) = delete;

  WatchClientStatus status() const;

 private:
  class Follower;
  const std::shared_ptr<Follower> follower_;
};

}  // namespace skv::kvstore
