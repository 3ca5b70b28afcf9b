#include "kvstore/index/entry_store.h"

#include <algorithm>
#include <array>

#include "common/log.h"

namespace skv::kvstore {

EntryStore::EntryStore(uint32_t max_entries, uint32_t max_shards)
    : entries_(max_entries), shards_(max_shards), index_(max_entries) {}

EntryIdx EntryStore::FindHashed(uint64_t hash, const EntryKey& key) const {
  return index_.Find(hash, [&](EntryIdx idx) { return entries_[idx].key == key; });
}

EntryIdx EntryStore::Find(const EntryKey& key) const { return FindHashed(key.Hash(), key); }

void EntryStore::FindChain(absl::Span<const EntryKey> keys, std::vector<EntryIdx>* chain) const {
  // Of a million entries none is in a cache: the memory of so many keys is asked for together.
  constexpr size_t kTogether = 16;
  chain->clear();
  std::array<uint64_t, kTogether> hashes;
  for (size_t begin = 0; begin < keys.size(); begin += kTogether) {
    const size_t count = std::min(kTogether, keys.size() - begin);
    for (size_t i = 0; i < count; ++i) {
      hashes[i] = keys[begin + i].Hash();
      index_.Prefetch(hashes[i]);
    }
    for (size_t i = 0; i < count; ++i) {
      if (const EntryIdx idx = index_.Guess(hashes[i]); idx != kNoEntry) entries_.Prefetch(idx);
    }
    for (size_t i = 0; i < count; ++i) {
      const EntryIdx idx = FindHashed(hashes[i], keys[begin + i]);
      if (idx == kNoEntry || entries_[idx].state != Entry::State::kSealed) return;
      if (!chain->empty() && entries_[idx].parent != chain->back()) return;
      chain->push_back(idx);
    }
  }
}

EntryIdx EntryStore::Add(const EntryKey& key, EntryIdx parent) {
  const std::optional<uint32_t> idx = entries_.Allocate();
  SKV_CHECK(idx.has_value()) << "entries: all " << entries_.capacity() << " in use";
  Entry& entry = entries_[*idx];
  entry.key = key;
  entry.key_hash = key.Hash();
  entry.parent = parent;
  if (parent != kNoEntry) {
    ++entries_[parent].num_children;
    entry.depth = entries_[parent].depth + 1;
  }
  index_.Insert(entry.key_hash, *idx);
  return *idx;
}

void EntryStore::Drop(EntryIdx idx) {
  Entry& entry = entries_[idx];
  index_.Erase(entry.key_hash, idx);
  entry.state = Entry::State::kDropped;
}

void EntryStore::Remove(EntryIdx idx) {
  const Entry& entry = entries_[idx];
  SKV_CHECK(entry.num_children == 0) << "entry " << idx;
  if (entry.state != Entry::State::kDropped) index_.Erase(entry.key_hash, idx);
  if (entry.parent != kNoEntry) --entries_[entry.parent].num_children;
  for (uint32_t shard = entry.first_shard; shard != kNoShard;) {
    const uint32_t next = shards_[shard].next;
    shards_.Free(shard);
    shard = next;
  }
  entries_.Free(idx);
}

uint32_t EntryStore::AddShard(EntryIdx idx, uint32_t rank, int64_t bytes) {
  const std::optional<uint32_t> shard_idx = shards_.Allocate();
  SKV_CHECK(shard_idx.has_value()) << "shards: all " << shards_.capacity() << " in use";
  Entry& entry = entries_[idx];
  Shard& shard = shards_[*shard_idx];
  shard.rank = static_cast<uint8_t>(rank);
  shard.bytes = bytes;
  shard.next = entry.first_shard;
  entry.first_shard = *shard_idx;
  entry.bytes += bytes;
  return *shard_idx;
}

void EntryStore::RemoveLastShard(EntryIdx idx) {
  Entry& entry = entries_[idx];
  const uint32_t shard = entry.first_shard;
  entry.first_shard = shards_[shard].next;
  entry.bytes -= shards_[shard].bytes;
  shards_.Free(shard);
}

uint32_t EntryStore::ShardOf(EntryIdx idx, uint32_t rank) const {
  uint32_t shard = entries_[idx].first_shard;
  while (shard != kNoShard && shards_[shard].rank != rank) shard = shards_[shard].next;
  return shard;
}

uint32_t EntryStore::UnsealedShardOf(EntryIdx idx) const {
  uint32_t shard = entries_[idx].first_shard;
  while (shard != kNoShard && shards_[shard].sealed) shard = shards_[shard].next;
  return shard;
}

}  // namespace skv::kvstore
