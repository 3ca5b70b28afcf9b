// Whatever bytes a server sends, in pieces of any sizes: no crash, replies do not depend on the
// pieces, and what a reply is taken for is one of the few things that redis_reply.h names. The
// first byte of the input is the size of the pieces. Seeds:
// tests/fuzz/write_redis_reply_corpus.py; found_* are the fuzzer's inputs that reached new code.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "kvstore/tier/redis_reply.h"

namespace skv::kvstore {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void CheckMeaning(RedisReply reply) {
  for (const absl::Status& status : {SetResult(reply), UnlinkResult(reply)}) {
    Require(status.ok() || absl::IsUnavailable(status) || absl::IsResourceExhausted(status));
    for (const char c : status.message()) Require(c >= ' ' && c <= '~');
  }
  Require(!(SetResult(reply).ok() && UnlinkResult(reply).ok()));
  const std::string text(reply.text());
  const bool is_string = reply.type == RedisReply::Type::kString;
  const absl::StatusOr<TierValue> value = GetResult(std::move(reply));
  Require(value.ok() == is_string);
  if (value.ok()) {
    Require(value->bytes.size() == text.size());
    Require(std::memcmp(value->bytes.data(), text.data(), text.size()) == 0);
  } else {
    Require(absl::IsNotFound(value.status()) || absl::IsUnavailable(value.status()) ||
            absl::IsResourceExhausted(value.status()));
  }
}

// What is read before the stream ends or is refused.
std::vector<std::string> ReadAll(std::span<const std::byte> bytes, size_t piece_bytes) {
  RedisReplyReader reader;
  std::vector<std::string> texts;
  for (size_t begin = 0; begin < bytes.size(); begin += piece_bytes) {
    const size_t size = std::min(piece_bytes, bytes.size() - begin);
    Require(reader.Feed(bytes.subspan(begin, size)).ok());
    while (true) {
      auto reply = reader.Next();
      if (!reply.ok()) {
        Require(absl::IsDataLoss(reply.status()));
        return texts;
      }
      if (!reply->has_value()) break;
      texts.emplace_back((*reply)->text());
      CheckMeaning(*std::move(*reply));
    }
  }
  return texts;
}

}  // namespace
}  // namespace skv::kvstore

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  const auto pieces = skv::kvstore::ReadAll(bytes, data[0] + size_t{1});
  const auto whole = skv::kvstore::ReadAll(bytes, bytes.size() + 1);
  skv::kvstore::Require(pieces == whole);
  return 0;
}
