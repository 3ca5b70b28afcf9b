// Every byte string is either refused with DataLoss or is a block whose header encodes to the very
// same bytes. Checksums and the block's name would stop nearly every input at once, so each is also
// read with these repaired. Seeds: tests/fuzz/write_block_header_corpus.py; found_* are the
// fuzzer's inputs that reached new code.

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "common/block_key.h"
#include "kvstore/block/block_header.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace skv::kvstore {
namespace {

// From docs/formats/block.md.
constexpr size_t kPayloadChecksum = 24, kPrefix = 32, kParent = 48, kNumTokens = 88,
                 kHeaderChecksum = 96, kTokens = 104;

void Require(bool condition) {
  if (!condition) std::abort();
}

void Check(std::span<const std::byte> bytes) {
  const auto header = ParseBlockHeader(bytes, "fuzz");
  const auto block = ParseBlock(bytes, "fuzz");
  if (!header.ok()) {
    Require(header.status().code() == absl::StatusCode::kDataLoss);
    Require(block.status() == header.status());
    return;
  }
  const size_t header_bytes = HeaderBytes(static_cast<int>(header->tokens.size()));
  Require(header_bytes <= bytes.size());
  std::array<std::byte, kMaxHeaderBytes> encoded;
  Require(EncodeBlockHeader(*header, encoded).ok());
  Require(std::memcmp(encoded.data(), bytes.data(), header_bytes) == 0);
  if (!block.ok()) {
    Require(block.status().code() == absl::StatusCode::kDataLoss);
    return;
  }
  Require(block->header == *header && block->payload.size() == header->payload_bytes);
  Require(block->payload.data() == bytes.data() + header_bytes);
  Require(header_bytes + block->payload.size() <= bytes.size());
}

template <typename T>
T Load(const std::vector<std::byte>& bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

template <typename T>
void Store(const T& value, size_t offset, std::vector<std::byte>* bytes) {
  std::memcpy(bytes->data() + offset, &value, sizeof(value));
}

// Makes the name and both checksums those of the rest, as far as the lengths allow.
void Repair(std::vector<std::byte>* bytes) {
  const auto num_tokens = Load<uint32_t>(*bytes, kNumTokens);
  if (num_tokens < 1 || num_tokens > kMaxBlockTokens) return;
  const size_t header_bytes = HeaderBytes(static_cast<int>(num_tokens));
  if (header_bytes > bytes->size()) return;
  std::vector<TokenId> tokens(num_tokens);
  std::memcpy(tokens.data(), bytes->data() + kTokens, 4 * tokens.size());
  Store(ChildKey(Load<PrefixKey>(*bytes, kParent), tokens), kPrefix, bytes);
  Store(PayloadChecksum(std::span(*bytes).subspan(header_bytes)), kPayloadChecksum, bytes);
  Store(uint64_t{0}, kHeaderChecksum, bytes);
  Store(XXH3_64bits(bytes->data(), header_bytes), kHeaderChecksum, bytes);
}

}  // namespace
}  // namespace skv::kvstore

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  skv::kvstore::Check({begin, size});
  std::vector<std::byte> repaired(begin, begin + size);
  if (size < skv::kvstore::kTokens) return 0;
  skv::kvstore::Repair(&repaired);
  skv::kvstore::Check(repaired);
  return 0;
}
