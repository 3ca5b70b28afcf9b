#pragma once
// Chains of sentences, and a client's way to write them.

#include <algorithm>
#include <string>
#include <vector>

#include "common/testing/status_matchers.h"
#include "kvstore/client/block_client.h"

namespace skv::kvstore {

inline const PrefixKey kTestRoot = RootKey({.model_name = "test"});

struct TestChain {
  std::vector<NewSentence> sentences;
  std::vector<PrefixKey> keys;
};

// Chains of different numbers share nothing.
inline TestChain MakeChain(int number, int length, uint64_t payload_bytes = 64) {
  TestChain chain;
  for (int i = 0; i < length; ++i) {
    NewSentence sentence;
    sentence.is_first = i == 0;
    sentence.parent = sentence.is_first ? kTestRoot : chain.keys.back();
    sentence.tokens = {number, i};
    sentence.key = ChildKey(sentence.parent, sentence.tokens);
    sentence.payload_bytes = payload_bytes;
    chain.keys.push_back(sentence.key);
    chain.sentences.push_back(std::move(sentence));
  }
  return chain;
}

// Long enough for whatever does come.
inline TimePoint Soon() { return RealClock().Now() + std::chrono::seconds(20); }

inline std::byte FillOf(const NewSentence& sentence) {
  return static_cast<std::byte>(1 + sentence.tokens[0] * 16 + sentence.tokens[1]);
}

// Creates the chain's blocks and fills each with bytes of its own.
inline std::vector<WritableBlock> Write(BlockClient& client, const TestChain& chain) {
  std::vector<WritableBlock> blocks;
  for (absl::StatusOr<Creation>& creation : client.Create(chain.sentences, Soon())) {
    EXPECT_OK(creation);
    if (!creation.ok()) continue;
    EXPECT_EQ(creation->outcome, Creation::Outcome::kCreated);
    WritableBlock block = std::move(creation->block);
    std::fill(block.payload().begin(), block.payload().end(), FillOf(block.sentence()));
    blocks.push_back(std::move(block));
  }
  return blocks;
}

// Writes and seals the chain; what is returned holds it.
inline std::vector<SealedBlock> Store(BlockClient& client, const TestChain& chain) {
  std::vector<SealedBlock> sealed;
  for (absl::StatusOr<SealedBlock>& block :
       client.Seal(Write(client, chain), /*is_tip=*/true, Soon())) {
    EXPECT_OK(block);
    if (block.ok()) sealed.push_back(*std::move(block));
  }
  return sealed;
}

// Of a sealed block's memory, to damage it.
inline std::byte* BytesOf(const LeasedBlock& block) {
  return const_cast<std::byte*>(block.payload.data());
}

inline bool IsWhole(const LeasedBlock& block, const NewSentence& sentence) {
  return block.payload.size() == sentence.payload_bytes &&
         block.num_tokens == static_cast<int>(sentence.tokens.size()) &&
         std::all_of(block.payload.begin(), block.payload.end(),
                     [&](std::byte b) { return b == FillOf(sentence); });
}

}  // namespace skv::kvstore
