#pragma once
// The name of an entry: a sentence under its prefix, in one layout. Opaque here; equal keys mean
// equal bytes.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/hash/hash.h"
#include "common/block_key.h"

namespace skv::kvstore {

struct EntryKey {
  PrefixKey prefix;
  LayoutId layout;
  bool operator==(const EntryKey&) const = default;

  // Seeded per process: keys come from clients, who must not be able to choose collisions.
  uint64_t Hash() const {
    std::array<uint64_t, 4> words;
    std::memcpy(words.data(), prefix.bytes.data(), prefix.bytes.size());
    std::memcpy(words.data() + 2, layout.bytes.data(), layout.bytes.size());
    return absl::HashOf(words[0], words[1], words[2], words[3]);
  }
};

struct EntryKeyHash {
  size_t operator()(const EntryKey& key) const { return key.Hash(); }
};

}  // namespace skv::kvstore
