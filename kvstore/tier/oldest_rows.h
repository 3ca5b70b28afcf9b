#pragma once
// The directory of the nvme tier from its oldest row on: what is to be evicted next. Not
// thread-safe.

#include <rocksdb/db.h>
#include <rocksdb/status.h>

#include <cstdint>
#include <deque>
#include <optional>

#include "kvstore/tier/rocksdb_database.h"

namespace skv::kvstore {

// Reads some rows at a time, and no row that is gone.
class OldestRows {
 public:
  // The next one; nothing: there is none. Corruption: a row is malformed.
  rocksdb::Status Take(rocksdb::DB& db, std::optional<DirectoryRow>* row);
  // The rows that were taken are gone from the directory.
  void Commit();
  // They are not: they are taken again.
  void Rewind();
  // The directory is another.
  void Reset();

 private:
  std::deque<DirectoryRow> rows_;  // read, not taken; what follows them begins at scan_from_
  uint64_t scan_from_ = 0;
  uint64_t gone_before_ = 0;  // sequence
};

}  // namespace skv::kvstore
