#include "bench/corrupt/block_series.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <span>

#include "common/log.h"
#include "kvstore/block/block_header.h"

namespace skv::corrupt {
namespace {

constexpr int kLarge = 10;  // one in so many
constexpr uint64_t kBytesPerToken = 23040;
constexpr int kMinTokens = 4, kMaxLargeTokens = 40;
constexpr double kMinLog = 10, kMaxLog = 16;  // of small payloads, to the base of 2
constexpr TokenId kVocabulary = 49152;

enum class Purpose : uint32_t { kContent, kBit };

std::mt19937_64 RandomFor(uint64_t seed, int number, Purpose purpose) {
  std::seed_seq sequence{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32),
                         static_cast<uint32_t>(number), static_cast<uint32_t>(purpose)};
  return std::mt19937_64(sequence);
}

int Draw(int min, int max, std::mt19937_64* random) {
  return std::uniform_int_distribution<int>(min, max)(*random);
}

kvstore::NewSentence MakeSentence(int number, std::mt19937_64* random) {
  const bool is_large = number % kLarge == 0;
  const int num_tokens =
      Draw(kMinTokens, is_large ? kMaxLargeTokens : kvstore::kMaxBlockTokens, random);
  kvstore::NewSentence sentence;
  sentence.parent = RootKey({.model_name = "corrupt"});
  sentence.is_first = true;
  sentence.tokens.push_back(number);
  while (sentence.tokens.size() < static_cast<size_t>(num_tokens)) {
    sentence.tokens.push_back(Draw(0, kVocabulary - 1, random));
  }
  sentence.key = ChildKey(sentence.parent, sentence.tokens);
  const double log = std::uniform_real_distribution<double>(kMinLog, kMaxLog)(*random);
  sentence.payload_bytes =
      is_large ? kBytesPerToken * sentence.tokens.size() : static_cast<uint64_t>(std::exp2(log));
  return sentence;
}

void Fill(std::span<char> bytes, std::mt19937_64* random) {
  while (!bytes.empty()) {
    const uint64_t word = (*random)();
    const size_t count = std::min(bytes.size(), sizeof(word));
    std::memcpy(bytes.data(), &word, count);
    bytes = bytes.subspan(count);
  }
}

}  // namespace

NumberedBlock BlockSeries::Make(int number) const {
  std::mt19937_64 random = RandomFor(seed_, number, Purpose::kContent);
  NumberedBlock block{.sentence = MakeSentence(number, &random)};
  const kvstore::NewSentence& sentence = block.sentence;
  block.header_bytes = kvstore::HeaderBytes(static_cast<int>(sentence.tokens.size()));
  block.bytes.resize(block.header_bytes + sentence.payload_bytes);
  const std::span<char> payload = std::span(block.bytes).subspan(block.header_bytes);
  Fill(payload, &random);
  const kvstore::BlockHeader header = {
      .id = {sentence.key, kLayout, 0},
      .parent = sentence.parent,
      .is_first = sentence.is_first,
      .tokens = sentence.tokens,
      .payload_bytes = sentence.payload_bytes,
      .payload_checksum = kvstore::PayloadChecksum(std::as_bytes(payload))};
  SKV_CHECK(
      kvstore::EncodeBlockHeader(header, std::as_writable_bytes(std::span(block.bytes))).ok());
  return block;
}

uint64_t BlockSeries::BitOf(const NumberedBlock& block, int number) const {
  std::mt19937_64 random = RandomFor(seed_, number, Purpose::kBit);
  return std::uniform_int_distribution<uint64_t>(0, 8 * block.bytes.size() - 1)(random);
}

}  // namespace skv::corrupt
