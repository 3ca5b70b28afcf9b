#include "kvstore/client/reconnecting_block_client.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/status.h"

namespace skv::kvstore {
namespace {

constexpr int kLogSeconds = 10;

void AddCounts(const BlockClientGauges& from, BlockClientGauges* to) {
  to->num_requests += from.num_requests;
  to->num_failures += from.num_failures;
  to->num_corrupt_blocks += from.num_corrupt_blocks;
  to->num_verified_bytes += from.num_verified_bytes;
}

void AddHeld(const BlockClientGauges& from, BlockClientGauges* to) {
  to->num_leases += from.num_leases;
  to->num_unsent_ends += from.num_unsent_ends;
  to->mapped_bytes += from.mapped_bytes;
  to->own_bytes += from.own_bytes;
}

}  // namespace

ReconnectingBlockClient::ReconnectingBlockClient(Factory connect, Factory create_local,
                                                 const ReconnectOptions& options)
    : connect_(std::move(connect)),
      create_local_(std::move(create_local)),
      options_(options),
      pause_(options.first_pause) {}

absl::StatusOr<BlockClient*> ReconnectingBlockClient::Current() {
  if (session_ != nullptr) return session_.get();
  if (local_ == nullptr) {
    SKV_ASSIGN_OR_RETURN(local_, create_local_());
  }
  return local_.get();
}

// Repeats `call` when the session was lost over it. An error: there is no client at all.
template <typename Call>
absl::Status ReconnectingBlockClient::RunOn(Call call) {
  do {
    SKV_ASSIGN_OR_RETURN(BlockClient* const client, Current());
    call(*client);
  } while (RetireLost());
  return absl::OkStatus();
}

bool ReconnectingBlockClient::RetireLost() {
  if (session_ == nullptr || session_->status().ok()) return false;
  SKV_LOG_EVERY_SECONDS(WARNING, kLogSeconds)
      << session_->status().message() << "; going on with a store in this process";
  ++num_losses_;
  next_attempt_.reset();
  Retire(std::move(session_));
  return true;
}

void ReconnectingBlockClient::Retire(std::unique_ptr<BlockClient> client) {
  Collect(client->TakeNotices());
  notices_.abandoned.insert(notices_.abandoned.end(), awaited_.begin(), awaited_.end());
  awaited_.clear();
  retired_.push_back(std::move(client));
}

// Keys of a Wait that found the session lost are not awaited: that of its repetition counts.
void ReconnectingBlockClient::Collect(const Notices& notices) {
  for (const PrefixKey& key : notices.sealed) {
    if (awaited_.erase(key) > 0) notices_.sealed.push_back(key);
  }
  for (const PrefixKey& key : notices.abandoned) {
    if (awaited_.erase(key) > 0) notices_.abandoned.push_back(key);
  }
}

void ReconnectingBlockClient::Poll(TimePoint now) {
  PruneRetired();
  if (session_ != nullptr) {
    Collect(session_->TakeNotices());
    RetireLost();
  }
  if (session_ != nullptr) return;
  if (!next_attempt_.has_value()) next_attempt_ = now + pause_;
  if (now >= *next_attempt_) Connect(now);
}

void ReconnectingBlockClient::Connect(TimePoint now) {
  absl::StatusOr<std::unique_ptr<BlockClient>> session = connect_();
  if (!session.ok()) {
    ++num_failed_attempts_;
    next_attempt_ = now + pause_;
    pause_ = std::min(2 * pause_, options_.max_pause);
    SKV_LOG_EVERY_SECONDS(WARNING, kLogSeconds) << session.status().message();
    return;
  }
  if (local_ != nullptr) Retire(std::move(local_));
  session_ = *std::move(session);
  pause_ = options_.first_pause;
}

void ReconnectingBlockClient::PruneRetired() {
  std::erase_if(retired_, [this](const std::unique_ptr<BlockClient>& client) {
    const BlockClientGauges gauges = client->gauges();
    if (gauges.num_leases > 0) return false;
    AddCounts(gauges, &past_);
    return true;
  });
}

absl::StatusOr<LeasedChain> ReconnectingBlockClient::Get(std::span<const PrefixKey> keys,
                                                         TimePoint deadline) {
  absl::StatusOr<LeasedChain> chain;
  SKV_RETURN_IF_ERROR(RunOn([&](BlockClient& client) { chain = client.Get(keys, deadline); }));
  return chain;
}

std::vector<absl::StatusOr<Creation>> ReconnectingBlockClient::Create(
    std::vector<NewSentence> sentences, TimePoint deadline) {
  std::vector<absl::StatusOr<Creation>> creations;
  const absl::Status status =
      RunOn([&](BlockClient& client) { creations = client.Create(sentences, deadline); });
  if (status.ok()) return creations;
  creations.clear();
  for (size_t i = 0; i < sentences.size(); ++i) creations.emplace_back(status);
  return creations;
}

// Not repeated: what a lost session leaves is private already.
std::vector<absl::StatusOr<SealedBlock>> ReconnectingBlockClient::Seal(
    std::vector<WritableBlock> blocks, bool is_tip, TimePoint deadline) {
  const absl::StatusOr<BlockClient*> client = Current();
  std::vector<absl::StatusOr<SealedBlock>> sealed;
  if (client.ok()) {
    sealed = (*client)->Seal(std::move(blocks), is_tip, deadline);
  } else {
    for (WritableBlock& block : blocks) sealed.emplace_back(PrivateBlock(std::move(block)));
  }
  RetireLost();
  return sealed;
}

absl::Status ReconnectingBlockClient::Wait(std::span<const PrefixKey> keys, TimePoint deadline) {
  absl::Status status;
  SKV_RETURN_IF_ERROR(RunOn([&](BlockClient& client) { status = client.Wait(keys, deadline); }));
  if (status.ok()) awaited_.insert(keys.begin(), keys.end());
  return status;
}

Notices ReconnectingBlockClient::TakeNotices() {
  BlockClient* const client = session_ != nullptr ? session_.get() : local_.get();
  if (client != nullptr) Collect(client->TakeNotices());
  RetireLost();
  return std::exchange(notices_, {});
}

absl::Status ReconnectingBlockClient::Flush(TimePoint deadline) {
  if (session_ == nullptr) return absl::OkStatus();
  const absl::Status status = session_->Flush(deadline);
  return RetireLost() ? absl::OkStatus() : status;
}

ReconnectGauges ReconnectingBlockClient::reconnect_gauges() const {
  return {.is_connected = session_ != nullptr,
          .num_losses = num_losses_,
          .num_failed_attempts = num_failed_attempts_,
          .num_retired = retired_.size()};
}

BlockClientGauges ReconnectingBlockClient::gauges() const {
  BlockClientGauges sum = past_;
  if (session_ != nullptr) {
    sum.is_shared = true;
    sum.store_epoch = session_->gauges().store_epoch;
  }
  const auto add = [&sum](const BlockClient* client) {
    if (client == nullptr) return;
    AddCounts(client->gauges(), &sum);
    AddHeld(client->gauges(), &sum);
  };
  add(session_.get());
  add(local_.get());
  for (const auto& client : retired_) add(client.get());
  return sum;
}

}  // namespace skv::kvstore
