#include "bench/corrupt/reader.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <set>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kvstore/client/session_block_client.h"

namespace skv::corrupt {

using kvstore::BlockClient;
using kvstore::LeasedChain;

namespace {

// Chains that the store seeks at one time are half of what it may.
constexpr int kBatch = 32;
constexpr std::chrono::milliseconds kNoticePoll{1};

TimePoint Soon() { return RealClock().Now() + std::chrono::seconds(20); }

bool IsRight(const NumberedBlock& block, const LeasedChain& chain) {
  const kvstore::LeasedBlock& got = chain.blocks()[0];
  const size_t payload_bytes = block.bytes.size() - block.header_bytes;
  return got.num_tokens == static_cast<int>(block.sentence.tokens.size()) &&
         got.payload.size() == payload_bytes &&
         std::memcmp(got.payload.data(), block.bytes.data() + block.header_bytes, payload_bytes) ==
             0;
}

// Counts those that it is given, and returns the others.
absl::StatusOr<std::vector<NumberedBlock>> GetAll(BlockClient* client,
                                                  std::vector<NumberedBlock> blocks,
                                                  ReadCounts* counts) {
  std::vector<NumberedBlock> missed;
  for (NumberedBlock& block : blocks) {
    SKV_ASSIGN_OR_RETURN(const LeasedChain chain,
                         client->Get(std::span(&block.sentence.key, 1), Soon()));
    if (chain.empty()) {
      missed.push_back(std::move(block));
    } else {
      ++(IsRight(block, chain) ? counts->num_right : counts->num_wrong);
    }
  }
  return missed;
}

// Until each is there, or will not be.
absl::Status WaitFor(BlockClient* client, const std::vector<NumberedBlock>& blocks) {
  std::set<PrefixKey> awaited;
  for (const NumberedBlock& block : blocks) awaited.insert(block.sentence.key);
  const std::vector<PrefixKey> keys(awaited.begin(), awaited.end());
  const TimePoint deadline = Soon();
  SKV_RETURN_IF_ERROR(client->Wait(keys, deadline));
  while (!awaited.empty()) {
    const kvstore::Notices notices = client->TakeNotices();
    SKV_RETURN_IF_ERROR(client->status());
    for (const PrefixKey& key : notices.sealed) awaited.erase(key);
    for (const PrefixKey& key : notices.abandoned) awaited.erase(key);
    if (RealClock().Now() > deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("the store has not told what came of ", awaited.size(), " blocks"));
    }
    std::this_thread::sleep_for(kNoticePoll);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ReadCounts> ReadBlocks(const std::string& socket, const BlockSeries& series,
                                      Numbers numbers, bool waits) {
  SKV_ASSIGN_OR_RETURN(const std::unique_ptr<BlockClient> client,
                       kvstore::ConnectSessionBlockClient(
                           socket, {.client_name = "corrupt-reader", .layout = kLayout}, Soon()));
  ReadCounts counts;
  for (int begin = numbers.first; begin < numbers.end(); begin += kBatch) {
    std::vector<NumberedBlock> blocks;
    for (int number = begin; number < std::min(begin + kBatch, numbers.end()); ++number) {
      blocks.push_back(series.Make(number));
    }
    SKV_ASSIGN_OR_RETURN(blocks, GetAll(client.get(), std::move(blocks), &counts));
    if (waits && !blocks.empty()) {
      SKV_RETURN_IF_ERROR(WaitFor(client.get(), blocks));
      SKV_ASSIGN_OR_RETURN(blocks, GetAll(client.get(), std::move(blocks), &counts));
    }
    counts.num_missed += static_cast<int64_t>(blocks.size());
  }
  counts.num_corrupt = client->gauges().num_corrupt_blocks;
  return counts;
}

}  // namespace skv::corrupt
