#pragma once
// How a block is named outside: the bytes of its prefix, its layout, and its rank (big-endian).

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

#include "kvstore/tier/tier.h"

namespace skv::kvstore {

inline constexpr size_t kTierKeyBytes = 36;
using EncodedTierKey = std::array<char, kTierKeyBytes>;

EncodedTierKey EncodeTierKey(const TierKey& key);
// Nothing unless there are exactly kTierKeyBytes.
std::optional<TierKey> DecodeTierKey(std::string_view bytes);

inline std::string_view View(const EncodedTierKey& key) { return {key.data(), key.size()}; }

}  // namespace skv::kvstore
