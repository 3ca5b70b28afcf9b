#include "kvstore/tier/tier_key.h"

#include <cstring>

namespace skv::kvstore {
namespace {

constexpr size_t kLayout = 16, kRank = 32;

}  // namespace

EncodedTierKey EncodeTierKey(const TierKey& key) {
  EncodedTierKey bytes;
  std::memcpy(bytes.data(), key.entry.prefix.bytes.data(), kLayout);
  std::memcpy(bytes.data() + kLayout, key.entry.layout.bytes.data(), kRank - kLayout);
  for (size_t i = 0; i < 4; ++i) bytes[kRank + i] = static_cast<char>(key.rank >> (24 - 8 * i));
  return bytes;
}

std::optional<TierKey> DecodeTierKey(std::string_view bytes) {
  if (bytes.size() != kTierKeyBytes) return std::nullopt;
  TierKey key;
  std::memcpy(key.entry.prefix.bytes.data(), bytes.data(), kLayout);
  std::memcpy(key.entry.layout.bytes.data(), bytes.data() + kLayout, kRank - kLayout);
  for (size_t i = 0; i < 4; ++i) {
    key.rank = key.rank << 8 | static_cast<unsigned char>(bytes[kRank + i]);
  }
  return key;
}

}  // namespace skv::kvstore
