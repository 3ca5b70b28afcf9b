#include "kvstore/block/block_header.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/rounding.h"
#include "common/status.h"

namespace skv::kvstore {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are stored as they lie");

constexpr uint64_t kMagic = 0x6b636f6c62766b73;  // "skvblock"
constexpr uint32_t kIsFirst = 1;                 // of flags, which have no other bit

// The part before the token ids. Its layout is the format's.
struct FixedPart {
  uint64_t magic;
  uint32_t version;
  uint32_t header_bytes;
  uint64_t payload_bytes;
  uint64_t payload_checksum;
  PrefixKey prefix;
  PrefixKey parent;
  LayoutId layout;
  uint32_t rank;
  uint32_t group_size;
  uint32_t num_tokens;
  uint32_t flags;
  uint64_t header_checksum;  // of the whole header with zeros here
};
static_assert(sizeof(FixedPart) == 104 && offsetof(FixedPart, header_checksum) == 96);
static_assert(sizeof(TokenId) == 4);
static_assert((sizeof(FixedPart) + 4 * kMaxBlockTokens + 63) / 64 * 64 == kMaxHeaderBytes);

using HeaderBuffer = std::array<std::byte, kMaxHeaderBytes>;

uint64_t HeaderChecksum(const HeaderBuffer& buffer, size_t num_bytes) {
  HeaderBuffer cleared = buffer;
  std::memset(cleared.data() + offsetof(FixedPart, header_checksum), 0, sizeof(uint64_t));
  return XXH3_64bits(cleared.data(), num_bytes);
}

// "num_tokens is 0, expected 1 to 128"; empty when `value` lies in [min, max].
std::string RangeProblem(std::string_view what, int64_t value, int64_t min, int64_t max) {
  if (value >= min && value <= max) return "";
  return absl::StrCat(Sv(what), " is ", value, ", expected ", min, " to ", max);
}

std::string NumbersProblem(const FixedPart& fixed) {
  std::string problem = RangeProblem("num_tokens", fixed.num_tokens, 1, kMaxBlockTokens);
  if (problem.empty()) problem = RangeProblem("group_size", fixed.group_size, 1, kMaxGroupSize);
  if (problem.empty()) problem = RangeProblem("rank", fixed.rank, 0, fixed.group_size - int64_t{1});
  if (problem.empty() && (fixed.payload_bytes < 1 || fixed.payload_bytes > kMaxPayloadBytes)) {
    problem = absl::StrCat("payload_bytes is ", fixed.payload_bytes, ", expected 1 to ",
                           kMaxPayloadBytes);
  }
  return problem;
}

std::string ContentProblem(const BlockHeader& header) {
  const auto negative = std::find_if(header.tokens.begin(), header.tokens.end(),
                                     [](TokenId token) { return token < 0; });
  if (negative != header.tokens.end()) {
    return absl::StrCat("token ", negative - header.tokens.begin(), " is ", *negative,
                        ", expected 0 or more");
  }
  const PrefixKey expected = ChildKey(header.parent, header.tokens);
  if (header.id.prefix == expected) return "";
  return absl::StrCat("prefix key is ", ToHex(header.id.prefix), ", expected ", ToHex(expected),
                      " of parent ", ToHex(header.parent), " and ", header.tokens.size(),
                      " tokens");
}

FixedPart FixedPartOf(const BlockHeader& header) {
  FixedPart fixed = {};
  fixed.magic = kMagic;
  fixed.version = kBlockVersion;
  fixed.payload_bytes = header.payload_bytes;
  fixed.payload_checksum = header.payload_checksum;
  fixed.prefix = header.id.prefix;
  fixed.parent = header.parent;
  fixed.layout = header.id.layout;
  fixed.rank = static_cast<uint32_t>(header.id.rank);
  fixed.group_size = static_cast<uint32_t>(header.group_size);
  fixed.num_tokens = static_cast<uint32_t>(std::min<size_t>(header.tokens.size(), UINT32_MAX));
  fixed.flags = header.is_first ? kIsFirst : 0;
  return fixed;
}

BlockHeader HeaderOf(const FixedPart& fixed, const HeaderBuffer& buffer) {
  BlockHeader header;
  header.id = {fixed.prefix, fixed.layout, static_cast<int>(fixed.rank)};
  header.parent = fixed.parent;
  header.is_first = fixed.flags == kIsFirst;
  header.group_size = static_cast<int>(fixed.group_size);
  header.tokens.resize(fixed.num_tokens);
  std::memcpy(header.tokens.data(), buffer.data() + sizeof(FixedPart), 4 * header.tokens.size());
  header.payload_bytes = fixed.payload_bytes;
  header.payload_checksum = fixed.payload_checksum;
  return header;
}

// Whether the bytes are a header at all, undamaged; `buffer` holds `num_bytes` of them.
std::string FrameProblem(const FixedPart& fixed, const HeaderBuffer& buffer, size_t num_bytes) {
  if (fixed.magic != kMagic) {
    return absl::StrCat("magic is ", absl::Hex(fixed.magic), ", expected ", absl::Hex(kMagic));
  }
  if (fixed.version != kBlockVersion) {
    return absl::StrCat("version is ", fixed.version, ", expected ", kBlockVersion);
  }
  std::string problem = NumbersProblem(fixed);
  if (!problem.empty()) return problem;
  const size_t header_bytes = HeaderBytes(static_cast<int>(fixed.num_tokens));
  if (fixed.header_bytes != header_bytes) {
    return absl::StrCat("header_bytes is ", fixed.header_bytes, ", expected ", header_bytes,
                        " for ", fixed.num_tokens, " tokens");
  }
  if (header_bytes > num_bytes) {
    return absl::StrCat("header has ", header_bytes, " bytes, only ", num_bytes, " are there");
  }
  const uint64_t checksum = HeaderChecksum(buffer, header_bytes);
  if (fixed.header_checksum != checksum) {
    return absl::StrCat("header checksum is ", absl::Hex(fixed.header_checksum), ", expected ",
                        absl::Hex(checksum));
  }
  const size_t used = sizeof(FixedPart) + 4 * fixed.num_tokens;
  problem = RangeProblem("flags", fixed.flags, 0, kIsFirst);
  if (!problem.empty()) return problem;
  if (std::any_of(buffer.begin() + used, buffer.begin() + header_bytes,
                  [](std::byte padding) { return padding != std::byte{0}; })) {
    return "padding is not 0";
  }
  return "";
}

absl::Status DataLoss(std::string_view name, std::string_view problem) {
  return absl::DataLossError(absl::StrCat(Sv(name), ": block: ", Sv(problem)));
}

}  // namespace

size_t HeaderBytes(int num_tokens) {
  const size_t used = sizeof(FixedPart) + sizeof(TokenId) * static_cast<size_t>(num_tokens);
  return RoundUp(used, kBlockAlignment);
}

uint64_t PayloadChecksum(std::span<const std::byte> payload) {
  return XXH3_64bits(payload.data(), payload.size());
}

absl::Status EncodeBlockHeader(const BlockHeader& header, std::span<std::byte> out) {
  FixedPart fixed = FixedPartOf(header);
  std::string problem = NumbersProblem(fixed);
  if (problem.empty()) problem = ContentProblem(header);
  if (!problem.empty()) return absl::InvalidArgumentError(absl::StrCat("block: ", problem));
  const size_t num_bytes = HeaderBytes(static_cast<int>(fixed.num_tokens));
  if (out.size() < num_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("block: room for the header has ", out.size(),
                                                   " bytes, expected ", num_bytes));
  }
  fixed.header_bytes = static_cast<uint32_t>(num_bytes);
  HeaderBuffer buffer = {};
  std::memcpy(buffer.data(), &fixed, sizeof(fixed));
  std::memcpy(buffer.data() + sizeof(fixed), header.tokens.data(), 4 * header.tokens.size());
  fixed.header_checksum = HeaderChecksum(buffer, num_bytes);
  std::memcpy(buffer.data(), &fixed, sizeof(fixed));
  std::memcpy(out.data(), buffer.data(), num_bytes);
  return absl::OkStatus();
}

absl::StatusOr<BlockHeader> ParseBlockHeader(std::span<const std::byte> bytes,
                                             std::string_view name) {
  HeaderBuffer buffer = {};
  const size_t num_bytes = std::min(bytes.size(), buffer.size());
  std::copy_n(bytes.begin(), num_bytes, buffer.begin());
  if (num_bytes < sizeof(FixedPart)) {
    return DataLoss(
        name, absl::StrCat("has ", num_bytes, " bytes, expected at least ", sizeof(FixedPart)));
  }
  FixedPart fixed;
  std::memcpy(&fixed, buffer.data(), sizeof(fixed));
  std::string problem = FrameProblem(fixed, buffer, num_bytes);
  if (!problem.empty()) return DataLoss(name, problem);
  BlockHeader header = HeaderOf(fixed, buffer);
  problem = ContentProblem(header);
  if (!problem.empty()) return DataLoss(name, problem);
  return header;
}

absl::StatusOr<ParsedBlock> ParseBlock(std::span<const std::byte> bytes, std::string_view name) {
  SKV_ASSIGN_OR_RETURN(BlockHeader header, ParseBlockHeader(bytes, name));
  const auto rest = bytes.subspan(HeaderBytes(static_cast<int>(header.tokens.size())));
  if (header.payload_bytes > rest.size()) {
    return DataLoss(name, absl::StrCat("payload has ", header.payload_bytes, " bytes, only ",
                                       rest.size(), " are there"));
  }
  const auto payload = rest.first(header.payload_bytes);
  const uint64_t checksum = PayloadChecksum(payload);
  if (checksum != header.payload_checksum) {
    return DataLoss(name, absl::StrCat("payload checksum is ", absl::Hex(checksum), ", expected ",
                                       absl::Hex(header.payload_checksum)));
  }
  return ParsedBlock{std::move(header), payload};
}

}  // namespace skv::kvstore
