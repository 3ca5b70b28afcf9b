#pragma once
// Which blocks the nvme tier has, as it is known in memory: for a hash of each block's name, where
// it stands in the order of eviction, and whether it was read since it came there.
//
// 17 bytes a block in a table that is between 7/16 and 7/8 full: at most 39, and twice that while
// the table grows. Names whose hashes are equal are one to it: with 10^7 blocks the odds are 10^-6
// that there is such a pair, and then one of them is a miss. Not thread-safe.

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "kvstore/tier/tier.h"

namespace skv::kvstore {

class NvmeIndex {
 public:
  // Of a block's name; differs between processes.
  static uint64_t Hash(const TierKey& key) { return absl::HashOf(key.entry.Hash(), key.rank); }

  struct Place {
    uint64_t sequence : 63 = 0;  // the smallest is the oldest
    uint64_t is_marked : 1 = 0;
  };

  bool Contains(uint64_t hash) const { return places_.contains(hash); }
  std::optional<Place> Find(uint64_t hash) const {
    const auto found = places_.find(hash);
    return found == places_.end() ? std::nullopt : std::optional(found->second);
  }
  void Set(uint64_t hash, Place place) { places_.insert_or_assign(hash, place); }
  // Does nothing when it is not there.
  void Mark(uint64_t hash) {
    if (const auto found = places_.find(hash); found != places_.end()) found->second.is_marked = 1;
  }
  void Remove(uint64_t hash) { places_.erase(hash); }
  void Clear() { places_ = {}; }
  size_t size() const { return places_.size(); }
  size_t num_bytes() const { return places_.capacity() * (sizeof(*places_.begin()) + 1); }

 private:
  absl::flat_hash_map<uint64_t, Place> places_;
};

}  // namespace skv::kvstore
