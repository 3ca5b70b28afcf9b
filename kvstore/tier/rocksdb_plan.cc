#include "kvstore/tier/rocksdb_plan.h"

#include <algorithm>

namespace skv::kvstore {

void RocksDbPlan::Add(const TierKey& key, uint64_t sequence, const rocksdb::Slice& bytes) {
  Place(key, sequence, bytes);
  ++totals_.num_new;
  totals_.num_new_bytes += bytes.size();
}

void RocksDbPlan::Move(const DirectoryRow& row, uint64_t sequence, const rocksdb::Slice& bytes) {
  batch_.Delete(RowName(row.sequence));
  totals_.bytes_delta -= static_cast<int64_t>(row.size);
  Place(row.key, sequence, bytes);
  totals_.num_rewritten_bytes += row.size;
}

void RocksDbPlan::Place(const TierKey& key, uint64_t sequence, const rocksdb::Slice& bytes) {
  const EncodedTierKey name = EncodeTierKey(key);
  const uint64_t hash = NvmeIndex::Hash(key);
  batch_.Put(BlockName(name), bytes);
  batch_.Put(RowName(sequence), EncodeRowValue(name, bytes.size()));
  placed_.emplace_back(hash, NvmeIndex::Place{.sequence = sequence});
  placed_hashes_.insert(hash);
  totals_.bytes_delta += static_cast<int64_t>(bytes.size());
}

void RocksDbPlan::Remove(const DirectoryRow& row) {
  batch_.Delete(BlockName(EncodeTierKey(row.key)));
  batch_.Delete(RowName(row.sequence));
  removed_.push_back(NvmeIndex::Hash(row.key));
  totals_.bytes_delta -= static_cast<int64_t>(row.size);
}

void RocksDbPlan::Evict(const DirectoryRow& row) {
  Remove(row);
  ++totals_.num_evicted;
}

bool RocksDbPlan::Removes(uint64_t hash) const {
  return std::ranges::find(removed_, hash) != removed_.end();
}

void RocksDbPlan::Apply(NvmeIndex* index) const {
  for (const uint64_t hash : removed_) index->Remove(hash);
  for (const auto& [hash, place] : placed_) index->Set(hash, place);
}

}  // namespace skv::kvstore
