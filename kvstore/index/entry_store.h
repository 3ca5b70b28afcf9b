#pragma once
// Entries by key, their shards and the chains that they form. Knows neither who holds them nor
// which goes first: that is the entry table. Not thread-safe.
//
// Invariant: an entry's parent lives as long as the entry, so a chain is whole from any of its
// entries up to its root. What is found by key is created or sealed; a dropped entry keeps its
// memory and its place in its chain, but no key leads to it.

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "kvstore/index/entry_key.h"
#include "kvstore/index/eviction_order.h"
#include "kvstore/index/hash_index.h"
#include "kvstore/index/slab.h"

namespace skv::kvstore {

constexpr uint32_t kNoEntry = UINT32_MAX;
constexpr uint32_t kNoShard = UINT32_MAX;
constexpr uint32_t kMaxRanks = 64;

struct Entry {
  enum class State : uint8_t { kCreated, kSealed, kDropped };
  EntryKey key;
  EntryIdx parent = kNoEntry;
  uint32_t num_children = 0;  // live entries, dropped ones included
  uint32_t num_leases = 0;    // of writers and readers
  uint32_t first_shard = kNoShard;
  uint32_t depth = 0;  // entries above it
  uint16_t tenant = 0;
  State state = State::kCreated;
  uint8_t world_size = 1;
  uint8_t num_sealed = 0;  // shards
  bool is_pinned = false;  // until its pin expires
  bool is_tip = false;     // the last of a chain when it was sealed
  bool announced = false;  // Watch has heard of it
  uint64_t key_hash = 0;
  int64_t bytes = 0;  // of all its shards
};

// One rank's block.
struct Shard {
  static constexpr int64_t kUnplaced = -1;
  int64_t offset = kUnplaced;
  int64_t bytes = 0;
  uint32_t next = kNoShard;      // of the same entry
  uint32_t writer = UINT32_MAX;  // index of the lease that writes it
  uint8_t rank = 0;
  bool sealed = false;
};

class EntryStore {
 public:
  EntryStore(uint32_t max_entries, uint32_t max_shards);

  // The entry that the key leads to, or kNoEntry.
  EntryIdx Find(const EntryKey& key) const;

  // Sets `chain` to the longest sealed prefix of `keys`: each the parent of the next. The first
  // need not be the root of its chain.
  void FindChain(absl::Span<const EntryKey> keys, std::vector<EntryIdx>* chain) const;

  // A created entry without shards. REQUIRES: room for one; the key leads nowhere.
  EntryIdx Add(const EntryKey& key, EntryIdx parent);
  // No key leads to the entry any more. REQUIRES: it is not dropped.
  void Drop(EntryIdx idx);
  // Frees an entry and its shards. REQUIRES: it has no children.
  void Remove(EntryIdx idx);

  // The index of a new shard. REQUIRES: room for one; the entry has none of this rank.
  uint32_t AddShard(EntryIdx idx, uint32_t rank, int64_t bytes);
  // Takes back the shard added last of all the entry's.
  void RemoveLastShard(EntryIdx idx);
  // kNoShard when the rank has none.
  uint32_t ShardOf(EntryIdx idx, uint32_t rank) const;
  // A shard that is not sealed, or kNoShard.
  uint32_t UnsealedShardOf(EntryIdx idx) const;

  Entry& operator[](EntryIdx idx) { return entries_[idx]; }
  const Entry& operator[](EntryIdx idx) const { return entries_[idx]; }
  Shard& shard(uint32_t idx) { return shards_[idx]; }
  const Shard& shard(uint32_t idx) const { return shards_[idx]; }
  bool IsLive(EntryIdx idx) const { return entries_.IsLive(idx); }
  bool EntriesFull() const { return entries_.size() == entries_.capacity(); }
  bool ShardsFull() const { return shards_.size() == shards_.capacity(); }
  uint32_t num_entries() const { return entries_.size(); }
  uint32_t num_shards() const { return shards_.size(); }
  EntryIdx end() const { return entries_.end(); }  // all live indices are below

 private:
  EntryIdx FindHashed(uint64_t hash, const EntryKey& key) const;

  Slab<Entry> entries_;
  Slab<Shard> shards_;
  HashIndex index_;
};

}  // namespace skv::kvstore
