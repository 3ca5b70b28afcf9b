#include "bench/corrupt/arena_blocks.h"

#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kvstore/client/session_block_client.h"

namespace skv::corrupt {

using kvstore::Creation;
using kvstore::SealedBlock;

namespace {

TimePoint Soon() { return RealClock().Now() + std::chrono::seconds(20); }

}  // namespace

absl::StatusOr<std::unique_ptr<ArenaBlocks>> ArenaBlocks::Open(const std::string& socket) {
  SKV_ASSIGN_OR_RETURN(auto client,
                       kvstore::ConnectSessionBlockClient(
                           socket, {.client_name = "corrupt-writer", .layout = kLayout}, Soon()));
  return std::unique_ptr<ArenaBlocks>(new ArenaBlocks(std::move(client)));
}

absl::Status ArenaBlocks::Write(const BlockSeries& series, Numbers numbers) {
  for (int number = numbers.first; number < numbers.end(); ++number) {
    SKV_RETURN_IF_ERROR(WriteOne(series.Make(number)));
  }
  return client_->Flush(Soon());
}

absl::Status ArenaBlocks::WriteOne(const NumberedBlock& block) {
  auto created = client_->Create({block.sentence}, Soon());
  SKV_RETURN_IF_ERROR(created[0].status());
  if (created[0]->outcome != Creation::Outcome::kCreated) {
    return absl::InternalError(absl::StrCat("block ", ToHex(block.sentence.key),
                                            ": the store has it; begin with an empty one"));
  }
  std::vector<kvstore::WritableBlock> writable;
  writable.push_back(std::move(created[0]->block));
  const std::span<std::byte> payload = writable[0].payload();
  std::memcpy(payload.data(), block.bytes.data() + block.header_bytes, payload.size());
  const std::span<std::byte> whole(writable[0].header().data(), block.bytes.size());
  const auto sealed = client_->Seal(std::move(writable), /*is_tip=*/true, Soon());
  SKV_RETURN_IF_ERROR(sealed[0].status());
  if (sealed[0]->visibility != SealedBlock::Visibility::kVisible) {
    return absl::InternalError(
        absl::StrCat("block ", ToHex(block.sentence.key), ": is sealed and not visible"));
  }
  written_[block.sentence.key] = whole;
  return absl::OkStatus();
}

absl::StatusOr<std::string> ArenaBlocks::Read(const PrefixKey& key) {
  const auto found = written_.find(key);
  if (found == written_.end()) {
    return absl::NotFoundError(absl::StrCat("arena: ", ToHex(key), " was not written here"));
  }
  return std::string(reinterpret_cast<const char*>(found->second.data()), found->second.size());
}

absl::Status ArenaBlocks::FlipBit(const PrefixKey& key, uint64_t bit) {
  const auto found = written_.find(key);
  if (found == written_.end() || bit / 8 >= found->second.size()) {
    return absl::NotFoundError(absl::StrCat("arena: no bit ", bit, " of ", ToHex(key)));
  }
  found->second[bit / 8] ^= std::byte{1} << bit % 8;
  return absl::OkStatus();
}

}  // namespace skv::corrupt
