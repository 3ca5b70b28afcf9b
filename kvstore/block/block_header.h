#pragma once
// What stands before a block's payload, in the arena and on disk, so that a block tells what it is
// and whether it is whole. docs/formats/block.md is the table of bytes.
//
// Readers trust nothing: the memory of an arena can be written by clients, even while it is read,
// so a header is copied once and every length is checked in that copy before it is used. What the
// payload means only its writer knows.
//
// All functions are thread-safe.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/block_key.h"
#include "common/types.h"

namespace skv::kvstore {

// Raise kSessionVersion with it. Tiers have their blocks under its number, so those of another
// version are never met.
inline constexpr uint32_t kBlockVersion = 2;
inline constexpr size_t kBlockAlignment = 64;  // of headers and payloads
inline constexpr int kMaxBlockTokens = 128;
inline constexpr int kMaxGroupSize = 1024;
inline constexpr uint64_t kMaxPayloadBytes = uint64_t{1} << 36;

struct BlockHeader {
  BlockId id;             // id.prefix is ChildKey(parent, tokens)
  PrefixKey parent;       // the key of the sentence before, or the root
  bool is_first = false;  // the parent is a root: there is no sentence before
  int group_size = 1;
  std::vector<TokenId> tokens;  // 1 to kMaxBlockTokens, none negative
  uint64_t payload_bytes = 0;   // 1 to kMaxPayloadBytes
  uint64_t payload_checksum = 0;

  bool operator==(const BlockHeader&) const = default;
};

// Bytes of the header of a block of `num_tokens`, a multiple of kBlockAlignment: the payload begins
// behind them. REQUIRES: 1 <= num_tokens <= kMaxBlockTokens.
size_t HeaderBytes(int num_tokens);
inline constexpr size_t kMaxHeaderBytes = 640;

// XXH3-64.
uint64_t PayloadChecksum(std::span<const std::byte> payload);

// Writes the header to the front of `out`, HeaderBytes(header.tokens.size()) bytes.
// InvalidArgument: a field is out of its range, `out` is too small; `out` is as before.
absl::Status EncodeBlockHeader(const BlockHeader& header, std::span<std::byte> out);

// Reads the header at the front of `bytes`, which may go on behind it. `name` (of the file, or the
// place in the arena) stands in front of every error.
// DataLoss: not a whole, well-formed header of this version, or one whose name is not that of its
// parent and tokens; says what, got and expected. Of the payload only the claimed length is
// checked against kMaxPayloadBytes.
absl::StatusOr<BlockHeader> ParseBlockHeader(std::span<const std::byte> bytes,
                                             std::string_view name);

struct ParsedBlock {
  BlockHeader header;
  std::span<const std::byte> payload;  // in the bytes given
};

// Reads the whole block at the front of `bytes`, checksum of the payload included. In shared memory
// that holds for the bytes as they were then; whoever can write can change them afterwards.
// DataLoss: as above, or the payload is cut off or damaged.
absl::StatusOr<ParsedBlock> ParseBlock(std::span<const std::byte> bytes, std::string_view name);

}  // namespace skv::kvstore
