#pragma once
// Sentences of numbered tokens as a client names, writes and checks them.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/log.h"
#include "kvstore/block/block_header.h"
#include "kvstore/session/frame_types.h"

namespace skv::kvstore {

// The payload is one byte, repeated.
struct Sentence {
  CreateItem item;
  PrefixKey parent;  // of the header: the root where the item has none
  TokenId token = 0;
  std::byte fill = {};
};

// One token, `number`; after `parent`, or first in its chain. With 64 bytes of payload it takes 192
// bytes of the arena.
inline Sentence MakeSentence(int number, const Sentence* parent = nullptr,
                             uint64_t payload_bytes = 64) {
  Sentence sentence{.token = number, .fill = static_cast<std::byte>(number % 255 + 1)};
  CreateItem& item = sentence.item;
  item.has_parent = parent != nullptr;
  if (item.has_parent) item.parent = parent->item.key;
  sentence.parent = item.has_parent ? item.parent : RootKey({.model_name = "test"});
  const TokenId tokens[] = {sentence.token};
  item.key = ChildKey(sentence.parent, tokens);
  item.num_tokens = 1;
  item.payload_bytes = payload_bytes;
  return sentence;
}

inline std::vector<Sentence> MakeChain(int first_number, int length) {
  std::vector<Sentence> chain;
  for (int i = 0; i < length; ++i) {
    const Sentence sentence = MakeSentence(first_number + i, i == 0 ? nullptr : &chain.back());
    chain.push_back(sentence);
  }
  return chain;
}

inline std::vector<PrefixKey> KeysOf(const std::vector<Sentence>& chain) {
  std::vector<PrefixKey> keys;
  keys.reserve(chain.size());
  for (const Sentence& sentence : chain) keys.push_back(sentence.item.key);
  return keys;
}

inline BlockHeader HeaderOf(const Sentence& sentence, const Hello& hello) {
  const std::vector<std::byte> payload(sentence.item.payload_bytes, sentence.fill);
  return {.id = {sentence.item.key, hello.layout, static_cast<int>(hello.rank)},
          .parent = sentence.parent,
          .is_first = !sentence.item.has_parent,
          .group_size = static_cast<int>(hello.world_size),
          .tokens = {sentence.token},
          .payload_bytes = sentence.item.payload_bytes,
          .payload_checksum = PayloadChecksum(payload)};
}

// What a writer does between Create and Seal.
inline void WriteSentence(const Sentence& sentence, const Hello& hello,
                          std::span<std::byte> place) {
  SKV_CHECK(EncodeBlockHeader(HeaderOf(sentence, hello), place).ok());
  std::fill_n(place.begin() + HeaderBytes(1), sentence.item.payload_bytes, sentence.fill);
}

inline bool IsIntact(const Sentence& sentence, const Hello& hello,
                     std::span<const std::byte> place) {
  const auto block = ParseBlock(place, "block");
  return block.ok() && block->header == HeaderOf(sentence, hello) &&
         block->payload.front() == sentence.fill;
}

inline Hello TestHello() { return {.client_name = "test"}; }

}  // namespace skv::kvstore
