#pragma once
// The name of an entry: a sentence under its prefix, in one layout. Opaque here; equal keys mean
// equal bytes.

#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/hash/hash.h"

namespace skv::kvstore {

using PrefixKey = std::array<uint8_t, 16>;
using LayoutId = std::array<uint8_t, 16>;

struct EntryKey {
  PrefixKey prefix{};
  LayoutId layout{};
  bool operator==(const EntryKey&) const = default;

  // Seeded per process: keys come from clients, who must not be able to choose collisions.
  uint64_t Hash() const {
    std::array<uint64_t, 4> words;
    std::memcpy(words.data(), prefix.data(), prefix.size());
    std::memcpy(words.data() + 2, layout.data(), layout.size());
    return absl::HashOf(words[0], words[1], words[2], words[3]);
  }
};

}  // namespace skv::kvstore
