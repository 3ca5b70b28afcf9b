#pragma once
// Sentences of numbered tokens, and what their writers put into the arena.

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "common/testing/status_matchers.h"
#include "kvstore/block/block_header.h"
#include "kvstore/store/block_store.h"

namespace skv::kvstore {

inline const PrefixKey kTestRoot = RootKey({.model_name = "test"});

// A block, and all that its header says. The payload is one byte, repeated.
struct TestSentence {
  NewBlock block;
  std::vector<TokenId> tokens;
  std::byte fill = {};
};

// The sentence of `num_tokens` tokens `number`, after `parent` or first in its chain (nullptr).
// One token and 64 bytes of payload take 192 bytes.
inline TestSentence MakeSentence(int number, const TestSentence* parent = nullptr,
                                 uint64_t payload_bytes = 64, int num_tokens = 1) {
  TestSentence sentence;
  sentence.tokens.assign(num_tokens, number);
  sentence.fill = static_cast<std::byte>(number);
  NewBlock& block = sentence.block;
  block.is_first = parent == nullptr;
  block.parent = block.is_first ? kTestRoot : parent->block.key.prefix;
  block.key.prefix = ChildKey(block.parent, sentence.tokens);
  block.num_tokens = num_tokens;
  block.payload_bytes = payload_bytes;
  return sentence;
}

inline BlockHeader HeaderOf(const TestSentence& sentence) {
  const NewBlock& block = sentence.block;
  const std::vector<std::byte> payload(block.payload_bytes, sentence.fill);
  return {.id = {block.key.prefix, block.key.layout, static_cast<int>(block.rank)},
          .parent = block.parent,
          .is_first = block.is_first,
          .group_size = static_cast<int>(block.world_size),
          .tokens = sentence.tokens,
          .payload_bytes = block.payload_bytes,
          .payload_checksum = PayloadChecksum(payload)};
}

// What a writer does between Create and Seal.
inline void WriteBlock(const BlockHeader& header, std::byte fill, std::span<std::byte> place) {
  EXPECT_OK(EncodeBlockHeader(header, place));
  const size_t header_bytes = HeaderBytes(static_cast<int>(header.tokens.size()));
  std::fill_n(place.begin() + header_bytes, header.payload_bytes, fill);
}

}  // namespace skv::kvstore
