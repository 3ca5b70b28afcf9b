#include "kvstore/tier/redis_tier.h"

#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kvstore/block/block_header.h"
#include "kvstore/tier/redis_connection.h"
#include "kvstore/tier/redis_reply.h"
#include "kvstore/tier/tier_key.h"
#include "kvstore/tier/tier_tally.h"

namespace skv::kvstore {
namespace {

constexpr uint64_t kMaxRedisBlockBytes = uint64_t{512} << 20;
constexpr char kPasswordVariable[] = "SKV_REDIS_PASSWORD";

absl::StatusOr<std::string> ReadPassword(const std::string& file) {
  std::string password;
  if (file.empty()) {
    const char* value = std::getenv(kPasswordVariable);
    return std::string(value == nullptr ? "" : value);
  }
  std::ifstream stream(file);
  if (!stream || !std::getline(stream, password) || password.empty()) {
    return absl::NotFoundError(absl::StrCat("redis tier: password file ", file,
                                            " cannot be read, or its first line is empty"));
  }
  if (password.back() == '\r') password.pop_back();
  return password;
}

class RedisTier : public Tier {
 public:
  RedisTier(const RedisTierOptions& options, RedisAddress address, std::string password)
      : options_(options), address_(std::move(address)), password_(std::move(password)) {}

  std::string_view name() const override { return "redis"; }
  absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> Get(std::span<const TierKey> keys,
                                                             TimePoint deadline) override;
  absl::Status Put(std::span<const TierBlock> blocks, TimePoint deadline) override;
  absl::Status Erase(std::span<const TierKey> keys, TimePoint deadline) override;
  TierGauges gauges() const override { return tally_.gauges(); }

 private:
  absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> Read(std::span<const TierKey> keys,
                                                              TimePoint deadline);
  absl::Status PutAll(std::span<const TierBlock> blocks, TimePoint deadline);
  absl::Status EraseAll(std::span<const TierKey> keys, TimePoint deadline);
  absl::StatusOr<std::vector<RedisReply>> Exchange(const RedisPipeline& pipeline,
                                                   TimePoint deadline);
  absl::Status Connect(TimePoint deadline);
  absl::Status Count(const absl::Status& status);

  const RedisTierOptions options_;
  const RedisAddress address_;
  const std::string password_;
  std::unique_ptr<RedisConnection> connection_;  // null after a failure
  TierTally tally_{/*is_on=*/true};
};

absl::Status CheckBatch(size_t num_items) {
  if (num_items <= Tier::kMaxBatch) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("redis tier: ", num_items, " blocks in one call, at most ", Tier::kMaxBatch));
}

absl::Status RedisTier::Count(const absl::Status& status) {
  // It may not be in step with the server any more.
  if (!status.ok()) connection_.reset();
  tally_.CountCall(status, /*is_on=*/!absl::IsUnavailable(status));
  return status;
}

absl::Status RedisTier::Connect(TimePoint deadline) {
  if (connection_ != nullptr && connection_->IsIdle()) return absl::OkStatus();
  connection_.reset();
  SKV_ASSIGN_OR_RETURN(auto connection,
                       RedisConnection::Connect(address_, options_.timeout, deadline));
  RedisPipeline pipeline;
  const std::string database = absl::StrCat(options_.database);
  if (!options_.username.empty()) {
    pipeline.Append({"AUTH", options_.username, password_});
  } else if (!password_.empty()) {
    pipeline.Append({"AUTH", password_});
  }
  if (options_.database != 0) pipeline.Append({"SELECT", database});
  SKV_ASSIGN_OR_RETURN(const std::vector<RedisReply> replies,
                       connection->Exchange(pipeline, deadline));
  for (const RedisReply& reply : replies) SKV_RETURN_IF_ERROR(SetResult(reply));
  connection_ = std::move(connection);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<RedisReply>> RedisTier::Exchange(const RedisPipeline& pipeline,
                                                            TimePoint deadline) {
  SKV_RETURN_IF_ERROR(Connect(deadline));
  return connection_->Exchange(pipeline, deadline);
}

absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> RedisTier::Get(std::span<const TierKey> keys,
                                                                      TimePoint deadline) {
  auto values = Read(keys, deadline);
  SKV_RETURN_IF_ERROR(Count(values.status()));
  tally_.CountRead(*values);
  return values;
}

absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> RedisTier::Read(
    std::span<const TierKey> keys, TimePoint deadline) {
  SKV_RETURN_IF_ERROR(CheckBatch(keys.size()));
  std::vector<absl::StatusOr<TierValue>> values;
  if (keys.empty()) return values;
  RedisPipeline pipeline;
  for (const TierKey& key : keys) pipeline.Append({"GET", RedisKey(key)});
  SKV_ASSIGN_OR_RETURN(std::vector<RedisReply> replies, Exchange(pipeline, deadline));
  for (RedisReply& reply : replies) {
    values.push_back(GetResult(std::move(reply)));
    const absl::Status& status = values.back().status();
    if (!status.ok() && !absl::IsNotFound(status)) return status;
  }
  return values;
}

absl::Status RedisTier::Put(std::span<const TierBlock> blocks, TimePoint deadline) {
  return Count(PutAll(blocks, deadline));
}

absl::Status RedisTier::PutAll(std::span<const TierBlock> blocks, TimePoint deadline) {
  SKV_RETURN_IF_ERROR(CheckBatch(blocks.size()));
  RedisPipeline pipeline;
  for (const TierBlock& block : blocks) {
    if (block.bytes.size() > kMaxRedisBlockBytes) {
      return absl::InvalidArgumentError(absl::StrCat("redis tier: a block has ", block.bytes.size(),
                                                     " bytes, at most ", kMaxRedisBlockBytes));
    }
    pipeline.Append({"SET", RedisKey(block.key)}, block.bytes);
  }
  if (blocks.empty()) return absl::OkStatus();
  SKV_ASSIGN_OR_RETURN(const std::vector<RedisReply> replies, Exchange(pipeline, deadline));
  absl::Status first;
  uint64_t num_blocks = 0, num_bytes = 0;
  for (size_t i = 0; i < replies.size(); ++i) {
    const absl::Status status = SetResult(replies[i]);
    first.Update(status);
    if (!status.ok()) continue;
    ++num_blocks;
    num_bytes += blocks[i].bytes.size();
  }
  tally_.Update([&](TierGauges& gauges) {
    gauges.num_written_blocks += num_blocks;
    gauges.num_written_bytes += num_bytes;
  });
  return first;
}

absl::Status RedisTier::Erase(std::span<const TierKey> keys, TimePoint deadline) {
  return Count(EraseAll(keys, deadline));
}

absl::Status RedisTier::EraseAll(std::span<const TierKey> keys, TimePoint deadline) {
  SKV_RETURN_IF_ERROR(CheckBatch(keys.size()));
  if (keys.empty()) return absl::OkStatus();
  RedisPipeline pipeline;
  for (const TierKey& key : keys) pipeline.Append({"UNLINK", RedisKey(key)});
  SKV_ASSIGN_OR_RETURN(const std::vector<RedisReply> replies, Exchange(pipeline, deadline));
  for (const RedisReply& reply : replies) SKV_RETURN_IF_ERROR(UnlinkResult(reply));
  return absl::OkStatus();
}

}  // namespace

std::string RedisKey(const TierKey& key) {
  return absl::StrCat("skv:", kBlockVersion, ":", Sv(View(EncodeTierKey(key))));
}

absl::StatusOr<std::unique_ptr<Tier>> OpenHiredisTier(const RedisTierOptions& options) {
  SKV_ASSIGN_OR_RETURN(RedisAddress address, RedisAddress::Parse(options.address));
  if (options.database < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("redis tier: the database is ", options.database, ", expected 0 or more"));
  }
  if (options.timeout <= Duration::zero()) {
    return absl::InvalidArgumentError("redis tier: the time-out is not above 0");
  }
  SKV_ASSIGN_OR_RETURN(std::string password, ReadPassword(options.password_file));
  return std::make_unique<RedisTier>(options, std::move(address), std::move(password));
}

}  // namespace skv::kvstore
