#include "kvstore/client/block_memory.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"
#include "kvstore/block/block_header.h"

namespace skv::kvstore {
namespace {

constexpr int kLogSeconds = 10;

std::string PlaceName(uint64_t offset) { return absl::StrCat("arena at ", offset); }

}  // namespace

BlockMemory::BlockMemory(std::span<std::byte> bytes, const BlockOwner& owner)
    : bytes_(bytes), owner_(owner) {
  SKV_CHECK(reinterpret_cast<uintptr_t>(bytes.data()) % kBlockAlignment == 0);
}

absl::Status BlockMemory::BeginLease(uint64_t lease) {
  if (leases_.try_emplace(lease).second) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("lease ", lease, " was given twice"));
}

void BlockMemory::EndLease(uint64_t lease) {
  const auto ended = leases_.extract(lease);
  SKV_CHECK(!ended.empty()) << "lease " << lease;
  for (const uint64_t offset : ended.mapped()) {
    const auto known = known_.find(offset);
    if (--known->second.num_leases == 0) known_.erase(known);
  }
}

absl::StatusOr<std::span<std::byte>> BlockMemory::BytesOf(ArenaRange range) const {
  if (range.offset % kBlockAlignment != 0 || range.offset > bytes_.size() ||
      range.num_bytes > bytes_.size() - range.offset) {
    return absl::InvalidArgumentError(
        absl::StrCat("block of ", range.num_bytes, " bytes at ", range.offset, ", expected within ",
                     bytes_.size(), " bytes, at a multiple of ", kBlockAlignment));
  }
  return bytes_.subspan(range.offset, range.num_bytes);
}

absl::StatusOr<std::span<std::byte>> BlockMemory::PlaceFor(const NewSentence& sentence,
                                                           ArenaRange range) const {
  SKV_ASSIGN_OR_RETURN(const std::span<std::byte> bytes, BytesOf(range));
  const int num_tokens = static_cast<int>(sentence.tokens.size());
  const uint64_t num_bytes = HeaderBytes(num_tokens) + sentence.payload_bytes;
  if (bytes.size() < num_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("place for a block has ", bytes.size(),
                                                   " bytes, expected at least ", num_bytes));
  }
  if (known_.contains(range.offset)) {
    return absl::InvalidArgumentError(
        absl::StrCat("place for a block at ", range.offset, ": a block that is leased lies there"));
  }
  return bytes.first(num_bytes);
}

absl::Status BlockMemory::WriteHeader(const WritableBlock& block) const {
  const NewSentence& sentence = block.sentence();
  const BlockHeader header = {.id = {sentence.key, owner_.layout, owner_.rank},
                              .parent = sentence.parent,
                              .is_first = sentence.is_first,
                              .group_size = owner_.group_size,
                              .tokens = sentence.tokens,
                              .payload_bytes = sentence.payload_bytes,
                              .payload_checksum = PayloadChecksum(block.payload())};
  return EncodeBlockHeader(header, block.header());
}

LeasedBlock BlockMemory::AddWritten(const WritableBlock& block) {
  const LeasedBlock leased = {block.payload(), block.num_tokens()};
  const auto offset = static_cast<uint64_t>(block.header().data() - bytes_.data());
  Remember(block.lease().id(), offset, block.sentence().key, leased);
  return leased;
}

absl::StatusOr<std::vector<LeasedBlock>> BlockMemory::AddFound(uint64_t lease,
                                                               std::span<const ArenaRange> ranges,
                                                               std::span<const PrefixKey> keys) {
  std::vector<LeasedBlock> blocks;
  blocks.reserve(ranges.size());
  for (size_t i = 0; i < ranges.size(); ++i) {
    SKV_ASSIGN_OR_RETURN(const std::span<std::byte> bytes, BytesOf(ranges[i]));
    absl::StatusOr<LeasedBlock> block = AddOne(lease, ranges[i].offset, bytes, keys[i]);
    if (!block.ok()) {
      ++num_corrupt_blocks_;
      SKV_LOG_EVERY_SECONDS(WARNING, kLogSeconds)
          << "a cached block is taken for a miss, " << num_corrupt_blocks_
          << " so far: " << block.status().message();
      break;
    }
    blocks.push_back(*block);
  }
  return blocks;
}

absl::StatusOr<LeasedBlock> BlockMemory::AddOne(uint64_t lease, uint64_t offset,
                                                std::span<const std::byte> bytes,
                                                const PrefixKey& key) {
  const auto known = known_.find(offset);
  if (known == known_.end()) {
    SKV_ASSIGN_OR_RETURN(const LeasedBlock block, Verify(offset, bytes, key));
    Remember(lease, offset, key, block);
    return block;
  }
  if (known->second.key != key) {
    return absl::DataLossError(absl::StrCat(PlaceName(offset), ": holds ", ToHex(known->second.key),
                                            ", which is leased, not ", ToHex(key)));
  }
  const LeasedBlock block = known->second.block;
  Remember(lease, offset, key, block);
  return block;
}

absl::StatusOr<LeasedBlock> BlockMemory::Verify(uint64_t offset, std::span<const std::byte> bytes,
                                                const PrefixKey& key) {
  const std::string name = PlaceName(offset);
  SKV_ASSIGN_OR_RETURN(const ParsedBlock parsed, ParseBlock(bytes, name));
  num_verified_bytes_ += parsed.payload.size();
  const BlockHeader& header = parsed.header;
  if (header.id != BlockId{key, owner_.layout, owner_.rank} ||
      header.group_size != owner_.group_size) {
    return absl::DataLossError(absl::StrCat(
        name, ": block ", ToHex(header.id.prefix), " of layout ", ToHex(header.id.layout),
        ", rank ", header.id.rank, " of ", header.group_size, ", expected ", ToHex(key), ", ",
        ToHex(owner_.layout), ", ", owner_.rank, " of ", owner_.group_size));
  }
  return LeasedBlock{parsed.payload, static_cast<int>(header.tokens.size())};
}

void BlockMemory::Remember(uint64_t lease, uint64_t offset, const PrefixKey& key,
                           const LeasedBlock& block) {
  KnownBlock& known = known_[offset];
  known.key = key;
  known.block = block;
  ++known.num_leases;
  leases_[lease].push_back(offset);
}

}  // namespace skv::kvstore
