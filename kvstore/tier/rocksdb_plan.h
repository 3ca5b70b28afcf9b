#pragma once
// Changes of the nvme tier that are made on disk, in one batch, and then, if that went well, in
// memory. Not thread-safe.

#include <rocksdb/slice.h>
#include <rocksdb/write_batch.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "kvstore/tier/nvme_index.h"
#include "kvstore/tier/rocksdb_database.h"

namespace skv::kvstore {

class RocksDbPlan {
 public:
  struct Totals {
    int64_t bytes_delta = 0;  // of all blocks
    uint64_t num_new = 0, num_new_bytes = 0;
    uint64_t num_rewritten_bytes = 0;  // of blocks that were moved
    uint64_t num_evicted = 0;
  };

  // A block that is not there, at the back of the order: `sequence` is the largest so far.
  void Add(const TierKey& key, uint64_t sequence, const rocksdb::Slice& bytes);
  // The block of a row goes to the back.
  void Move(const DirectoryRow& row, uint64_t sequence, const rocksdb::Slice& bytes);
  void Remove(const DirectoryRow& row);
  // Removed to make room.
  void Evict(const DirectoryRow& row);

  // By the hash of a block's name, as in the index.
  bool Places(uint64_t hash) const { return placed_hashes_.contains(hash); }
  bool Removes(uint64_t hash) const;
  bool IsEmpty() const { return batch_.Count() == 0; }
  const Totals& totals() const { return totals_; }

  rocksdb::WriteBatch& batch() { return batch_; }
  // Once the batch is written.
  void Apply(NvmeIndex* index) const;

 private:
  void Place(const TierKey& key, uint64_t sequence, const rocksdb::Slice& bytes);

  rocksdb::WriteBatch batch_;
  std::vector<std::pair<uint64_t, NvmeIndex::Place>> placed_;  // by hash
  absl::flat_hash_set<uint64_t> placed_hashes_;
  std::vector<uint64_t> removed_;
  Totals totals_;
};

}  // namespace skv::kvstore
