#include "kvstore/tier/redis_reply.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <new>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kvstore/tier/tier_options.h"

namespace skv::kvstore {
namespace {

constexpr size_t kMaxLineBytes = 64 << 10;
constexpr size_t kKeptBytes = 8 << 20;  // of a buffer that is empty: blocks fit without growing it
constexpr size_t kMaxLengthBytes = 24;  // of the decimal length of a string, and its line end
constexpr size_t kMaxShownBytes = 200;

void* MakeReply(RedisReply::Type type, const char* bytes, size_t num_bytes, int64_t integer) {
  std::unique_ptr<RedisReply> reply(new (std::nothrow) RedisReply);
  if (reply == nullptr) return nullptr;  // hiredis reports it
  reply->type = type;
  reply->integer = integer;
  reply->num_bytes = num_bytes;
  reply->bytes.reset(new (std::nothrow) std::byte[std::max<size_t>(num_bytes, 1)]);
  if (reply->bytes == nullptr) return nullptr;
  if (num_bytes > 0) std::memcpy(reply->bytes.get(), bytes, num_bytes);
  return reply.release();
}

void* CreateString(const redisReadTask* task, char* bytes, size_t num_bytes) {
  auto type = RedisReply::Type::kString;
  if (task->type == REDIS_REPLY_STATUS) type = RedisReply::Type::kStatus;
  if (task->type == REDIS_REPLY_ERROR) type = RedisReply::Type::kError;
  return MakeReply(type, bytes, num_bytes, 0);
}
// Before hiredis makes room for as many elements as are claimed.
void* RefuseArray(const redisReadTask*, int) { return nullptr; }
void* CreateInteger(const redisReadTask*, long long integer) {
  return MakeReply(RedisReply::Type::kInteger, nullptr, 0, integer);
}
void* CreateNil(const redisReadTask*) { return MakeReply(RedisReply::Type::kNil, nullptr, 0, 0); }
void FreeReply(void* reply) { delete static_cast<RedisReply*>(reply); }

redisReplyObjectFunctions kFunctions = {CreateString, RefuseArray, CreateInteger, CreateNil,
                                        FreeReply};

std::string Shown(std::string_view text) {
  return absl::CHexEscape(Sv(text.substr(0, kMaxShownBytes)));
}

std::string_view TypeName(RedisReply::Type type) {
  switch (type) {
    case RedisReply::Type::kString:
      return "a string";
    case RedisReply::Type::kNil:
      return "nil";
    case RedisReply::Type::kStatus:
      return "a status";
    case RedisReply::Type::kError:
      return "an error";
    case RedisReply::Type::kInteger:
      return "an integer";
  }
  return "nothing known";
}

absl::Status ErrorResult(std::string_view text) {
  if (text.starts_with("OOM")) {
    return absl::ResourceExhaustedError(
        absl::StrCat("redis tier: the server is out of memory and evicts nothing: ", Shown(text),
                     "; set its maxmemory-policy to allkeys-lru"));
  }
  const bool is_refused = text.starts_with("NOAUTH") || text.starts_with("WRONGPASS") ||
                          text.starts_with("NOPERM") || text.starts_with("ERR AUTH");
  return absl::UnavailableError(
      absl::StrCat("redis tier: the server answers: ", Shown(text),
                   is_refused ? "; check the user's name, password and rights" : ""));
}

absl::Status TypeError(const RedisReply& reply, std::string_view expected) {
  if (reply.type == RedisReply::Type::kError) return ErrorResult(reply.text());
  return absl::UnavailableError(absl::StrCat("redis tier: the server answers with ",
                                             Sv(TypeName(reply.type)), ", expected ", Sv(expected),
                                             "; is it a Redis?"));
}

}  // namespace

RedisReplyReader::RedisReplyReader()
    : reader_(redisReaderCreateWithFunctions(&kFunctions), redisReaderFree) {
  if (reader_ != nullptr) reader_->maxbuf = kKeptBytes;
}

absl::Status RedisReplyReader::Feed(std::span<const std::byte> bytes) {
  if (reader_ != nullptr &&
      redisReaderFeed(reader_.get(), reinterpret_cast<const char*>(bytes.data()), bytes.size()) ==
          0) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError("no memory for a reply");
}

absl::StatusOr<std::optional<RedisReply>> RedisReplyReader::Next() {
  if (reader_ == nullptr) return absl::ResourceExhaustedError("no memory for replies");
  void* object = nullptr;
  if (redisReaderGetReply(reader_.get(), &object) != 0) {
    return absl::DataLossError(absl::StrCat(
        "cannot read the server's reply: ", Shown(reader_->errstr), "; is it a Redis?"));
  }
  if (object == nullptr) {
    SKV_RETURN_IF_ERROR(CheckPartialReply());
    return std::optional<RedisReply>();
  }
  const std::unique_ptr<RedisReply> reply(static_cast<RedisReply*>(object));
  return std::optional<RedisReply>(std::move(*reply));
}

bool RedisReplyReader::IsEmpty() const {
  return reader_ != nullptr && reader_->ridx < 0 && reader_->pos == reader_->len;
}

// hiredis waits for as many bytes as it is promised, and looks through them all for a line's end.
absl::Status RedisReplyReader::CheckPartialReply() const {
  const std::string_view rest(reader_->buf + reader_->pos, reader_->len - reader_->pos);
  if (reader_->ridx < 0 || rest.empty()) return absl::OkStatus();
  if (reader_->rstack[reader_->ridx].type != REDIS_REPLY_STRING) {
    if (rest.size() <= kMaxLineBytes) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("the server's reply is a line of more than ",
                                            kMaxLineBytes, " bytes; is it a Redis?"));
  }
  const std::string_view front = rest.substr(0, kMaxLengthBytes);
  const size_t end = front.find("\r\n");
  if (end == std::string_view::npos) {
    if (front.size() < kMaxLengthBytes) return absl::OkStatus();
    return absl::DataLossError("the length of a string has no end; is it a Redis?");
  }
  uint64_t length = 0;
  const auto [_, error] = std::from_chars(front.data(), front.data() + end, length);
  if (error == std::errc() && length <= kMaxTierBlockBytes) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("a value has ", Shown(front.substr(0, end)),
                                          " bytes, at most ", kMaxTierBlockBytes));
}

absl::StatusOr<TierValue> GetResult(RedisReply reply) {
  if (reply.type == RedisReply::Type::kNil) return absl::NotFoundError("not in the redis tier");
  if (reply.type == RedisReply::Type::kError && reply.text().starts_with("WRONGTYPE")) {
    return absl::NotFoundError("another kind of value in the redis tier");
  }
  if (reply.type != RedisReply::Type::kString) return TypeError(reply, "a string or nil");
  const size_t num_bytes = reply.num_bytes;
  std::shared_ptr<std::byte[]> bytes = std::move(reply.bytes);
  return TierValue{{bytes.get(), num_bytes}, bytes};
}

absl::Status SetResult(const RedisReply& reply) {
  if (reply.type == RedisReply::Type::kStatus && reply.text() == "OK") return absl::OkStatus();
  return TypeError(reply, "OK");
}

absl::Status UnlinkResult(const RedisReply& reply) {
  if (reply.type == RedisReply::Type::kInteger) return absl::OkStatus();
  return TypeError(reply, "a number");
}

}  // namespace skv::kvstore
