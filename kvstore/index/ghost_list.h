#pragma once
// The hashes of keys that were evicted lately, oldest forgotten first: as many as its two limits
// allow. Address space for all is reserved at the start, memory is touched as it is first needed.
// Not thread-safe.

#include <cstdint>
#include <optional>

#include "common/page_memory.h"
#include "kvstore/index/hash_index.h"

namespace skv::kvstore {

class GhostList {
 public:
  explicit GhostList(uint32_t max_ghosts);

  // Remembers the key of an entry of `bytes`, and a stamp, and forgets the oldest until all that is
  // remembered stood for at most `max_bytes`. A key that is there already becomes the youngest.
  void Add(uint64_t key_hash, int64_t bytes, int64_t stamp, int64_t max_bytes);

  // The stamp of the key when it is remembered, and forgets it.
  std::optional<int64_t> Take(uint64_t key_hash);

  uint32_t size() const { return size_; }
  uint32_t max_ghosts() const { return max_ghosts_; }

 private:
  struct Ghost {
    uint64_t key_hash;
    int64_t bytes;
    int64_t stamp;
    bool live;
  };
  void Forget(uint32_t place);
  void DropOldest();

  const uint32_t max_ghosts_;
  ZeroPages<Ghost> ring_;
  HashIndex index_;  // key hash -> place in the ring
  uint32_t oldest_ = 0;
  uint32_t length_ = 0;  // places from the oldest to the youngest, holes of Take included
  uint32_t size_ = 0;
  int64_t bytes_ = 0;
};

}  // namespace skv::kvstore
