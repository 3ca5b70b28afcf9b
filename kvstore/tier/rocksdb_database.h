#pragma once
// The RocksDB that the nvme tier keeps its blocks in: how it is set up, opened, and given up when
// it is damaged.
//
// Keys: "b" and the name of a block (tier_key.h) -> its bytes, kept in blob files; "d" and a
// sequence (8 bytes, big-endian) -> name and size (8 bytes, little-endian), the directory, in the
// order of eviction, behind all blocks. Both change in one batch, so neither is ever ahead of the
// other. One column family: with several, RocksDB 7.8 ends the process when it is closed after it
// could not open a new log.

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/thread_pool.h"
#include "kvstore/tier/tier_key.h"
#include "kvstore/tier/tier_options.h"

namespace skv::kvstore {

// Bytes of a memtable, of which there may be three: a part of the capacity, because what is
// evicted leaves the disk only some memtables later.
uint64_t MemtableBytes(uint64_t capacity_bytes);

class RocksDbDatabase {
 public:
  // Opens what is in the folder, or an empty one. It is named after the version of blocks, and
  // those of other versions are deleted: nothing in them can be read. So is one that is damaged,
  // with a warning: all that is lost is a cache. FailedPrecondition: another process has the
  // folder, or it cannot be used (what to do is said). Unavailable: the disk is full, read-only, or
  // fails.
  static absl::StatusOr<std::unique_ptr<RocksDbDatabase>> Open(const NvmeTierOptions& options);

  ~RocksDbDatabase();
  RocksDbDatabase(const RocksDbDatabase&) = delete;
  RocksDbDatabase& operator=(const RocksDbDatabase&) = delete;

  rocksdb::DB& db() { return *db_; }

  // Blocks by their names, a status each, read by several threads. One caller at a time. TimedOut
  // or Incomplete: not by the deadline.
  std::vector<rocksdb::Status> Read(const std::vector<std::string>& names, TimePoint deadline,
                                    std::vector<rocksdb::PinnableSlice>* found);
  // Incomplete: RocksDB was behind with its memtables or tables until then; one in the past does
  // not wait.
  rocksdb::Status Write(rocksdb::WriteBatch* batch, TimePoint stalled_until);

  // Deletes all of it and begins again, empty. The errors of Open; afterwards it must not be used.
  absl::Status StartOver(std::string_view why);

 private:
  RocksDbDatabase(const NvmeTierOptions& options, int lock_fd);
  rocksdb::Status TryOpen();
  absl::Status OpenOrStartOver();

  const NvmeTierOptions options_;
  const std::string path_;
  const int lock_fd_;
  std::unique_ptr<rocksdb::DB> db_;
  ThreadPool readers_;
};

// A row of the directory: the block that stands at `sequence` of the order.
struct DirectoryRow {
  uint64_t sequence = 0;
  TierKey key;
  uint64_t size = 0;
};
std::string BlockName(const EncodedTierKey& key);
std::string RowName(uint64_t sequence);
std::string EncodeRowValue(const EncodedTierKey& key, uint64_t size);
// Nothing: not a row that this file has written.
std::optional<DirectoryRow> DecodeRow(const rocksdb::Slice& name, const rocksdb::Slice& value);

}  // namespace skv::kvstore
