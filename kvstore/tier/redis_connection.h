#pragma once
// A connection to a Redis server: sends commands in a pipeline while it reads the replies, so that
// neither side waits for the other with its buffers full.

#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "kvstore/tier/redis_reply.h"

namespace skv::kvstore {

struct RedisAddress {
  std::string path;  // of a unix socket, or empty
  std::string host, port;

  // InvalidArgument: not "host:port", "[address]:port" or "unix:///path".
  static absl::StatusOr<RedisAddress> Parse(std::string_view text);
  std::string ToString() const;
};

// Commands as they go over the line, and the replies that they will have. The bytes that were
// appended as values stay the caller's until the exchange is over.
class RedisPipeline {
 public:
  // One command of these arguments, the last of which is `value` if there is one.
  void Append(const std::vector<std::string_view>& arguments,
              std::optional<std::span<const std::byte>> value = std::nullopt);
  std::vector<iovec> pieces() const;
  size_t num_replies() const { return commands_.size(); }

 private:
  struct Command {
    std::string front;
    std::optional<std::span<const std::byte>> value;
  };
  std::vector<Command> commands_;
};

// Not thread-safe. Of no use after an error.
class RedisConnection {
 public:
  // Unavailable: nobody listens, or answers within `timeout` and before `deadline`. (Names are
  // looked up by the system's resolver, which has time-outs of its own.)
  static absl::StatusOr<std::unique_ptr<RedisConnection>> Connect(const RedisAddress& address,
                                                                  Duration timeout,
                                                                  TimePoint deadline);
  ~RedisConnection();
  RedisConnection(const RedisConnection&) = delete;
  RedisConnection& operator=(const RedisConnection&) = delete;

  // False: the server has closed it, or says what it was not asked.
  bool IsIdle() const;

  // Unavailable: no byte came or went for `timeout`, or `deadline` passed, or the connection or the
  // protocol broke.
  absl::StatusOr<std::vector<RedisReply>> Exchange(const RedisPipeline& pipeline,
                                                   TimePoint deadline);

 private:
  RedisConnection(int fd, std::string name, Duration timeout)
      : fd_(fd), name_(std::move(name)), timeout_(timeout) {}
  absl::Status FinishConnecting(TimePoint deadline);
  absl::StatusOr<short> Poll(short events, TimePoint deadline);
  absl::Status SendSome(std::vector<iovec>* pieces, size_t* begin);
  absl::Status ReceiveSome();
  absl::Status Error(std::string_view what) const;

  const int fd_;
  const std::string name_;  // of the server, for messages
  const Duration timeout_;
  RedisReplyReader reader_;
  std::vector<std::byte> buffer_;
};

}  // namespace skv::kvstore
