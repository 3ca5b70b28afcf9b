#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/corrupt/block_series.h"
#include "bench/corrupt/raw_blocks.h"
#include "common/status.h"
#include "kvstore/tier/redis_connection.h"
#include "kvstore/tier/redis_tier.h"

namespace skv::corrupt {
namespace {

using kvstore::RedisConnection;
using kvstore::RedisReply;

constexpr std::chrono::seconds kTimeout{10};

std::string NameOf(const PrefixKey& key) { return kvstore::RedisKey({{key, kLayout}, 0}); }

class RedisBlocks : public RawBlocks {
 public:
  explicit RedisBlocks(std::unique_ptr<RedisConnection> connection)
      : connection_(std::move(connection)) {}

  absl::StatusOr<std::string> Read(const PrefixKey& key) override {
    const std::string name = NameOf(key);
    SKV_ASSIGN_OR_RETURN(const RedisReply reply, Ask({"GET", name}));
    if (reply.type == RedisReply::Type::kString) return std::string(reply.text());
    return absl::NotFoundError(absl::StrCat("redis: ", ToHex(key), ": ", Sv(reply.text())));
  }

  absl::Status FlipBit(const PrefixKey& key, uint64_t bit) override {
    SKV_ASSIGN_OR_RETURN(const std::string bytes, Read(key));
    if (bit / 8 >= bytes.size()) return absl::NotFoundError("redis: a block is shorter");
    const std::string flipped(1, static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8)));
    const std::string name = NameOf(key), offset = absl::StrCat(bit / 8);
    SKV_ASSIGN_OR_RETURN(const RedisReply reply, Ask({"SETRANGE", name, offset, flipped}));
    if (reply.type == RedisReply::Type::kInteger) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("redis: SETRANGE: ", Sv(reply.text())));
  }

 private:
  absl::StatusOr<RedisReply> Ask(const std::vector<std::string_view>& command) {
    kvstore::RedisPipeline pipeline;
    pipeline.Append(command);
    SKV_ASSIGN_OR_RETURN(std::vector<RedisReply> replies,
                         connection_->Exchange(pipeline, RealClock().Now() + kTimeout));
    return std::move(replies.at(0));
  }

  const std::unique_ptr<RedisConnection> connection_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RawBlocks>> OpenRedisBlocks(const std::string& address) {
  SKV_ASSIGN_OR_RETURN(const auto parsed, kvstore::RedisAddress::Parse(address));
  SKV_ASSIGN_OR_RETURN(auto connection,
                       RedisConnection::Connect(parsed, kTimeout, RealClock().Now() + kTimeout));
  return std::make_unique<RedisBlocks>(std::move(connection));
}

}  // namespace skv::corrupt
