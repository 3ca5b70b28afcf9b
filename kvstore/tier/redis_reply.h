#pragma once
// What a Redis server answers, and what that means to the tier. Everything here holds for any
// bytes at all: the server, or whoever sits at its address, is not trusted.

#include <hiredis/read.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/tier/tier.h"

namespace skv::kvstore {

struct RedisReply {
  enum class Type { kString, kNil, kStatus, kError, kInteger };
  Type type = Type::kNil;
  // Of strings, status and error lines.
  std::unique_ptr<std::byte[]> bytes;
  size_t num_bytes = 0;
  int64_t integer = 0;

  std::string_view text() const { return {reinterpret_cast<const char*>(bytes.get()), num_bytes}; }
};

// Takes a stream of bytes apart into replies. Not thread-safe.
class RedisReplyReader {
 public:
  RedisReplyReader();

  // The next bytes of the stream. ResourceExhausted: no memory.
  absl::Status Feed(std::span<const std::byte> bytes);

  // Nothing: more bytes are needed. DataLoss: not the protocol, an array (no command of ours has
  // such a reply), a string that says that it is longer than kMaxTierBlockBytes, or another reply
  // of more than 64 KiB; nothing can be read after that.
  absl::StatusOr<std::optional<RedisReply>> Next();

  // All bytes are used up, and no reply is unfinished.
  bool IsEmpty() const;

 private:
  absl::Status CheckPartialReply() const;

  std::unique_ptr<redisReader, void (*)(redisReader*)> reader_;
};

// Replies to GET, SET, UNLINK, and to AUTH and SELECT. `reply` is used up.
//
// Of all: ResourceExhausted: the server has no memory left. Unavailable: another error, which names
// it, or a reply of the wrong type.
// NotFound: there is no such key, or it is not a string's.
absl::StatusOr<TierValue> GetResult(RedisReply reply);
absl::Status SetResult(const RedisReply& reply);
absl::Status UnlinkResult(const RedisReply& reply);

}  // namespace skv::kvstore
