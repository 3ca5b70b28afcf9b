#include "kvstore/tier/oldest_rows.h"

#include <memory>

namespace skv::kvstore {
namespace {

constexpr size_t kRowsPerScan = 64;

}  // namespace

rocksdb::Status OldestRows::Take(rocksdb::DB& db, std::optional<DirectoryRow>* row) {
  row->reset();
  if (rows_.empty()) {
    std::unique_ptr<rocksdb::Iterator> at(db.NewIterator(rocksdb::ReadOptions()));
    for (at->Seek(RowName(scan_from_)); at->Valid() && rows_.size() < kRowsPerScan; at->Next()) {
      const std::optional<DirectoryRow> read = DecodeRow(at->key(), at->value());
      if (!read) return rocksdb::Status::Corruption("a row of its directory is malformed");
      rows_.push_back(*read);
      scan_from_ = read->sequence + 1;
    }
    if (!at->status().ok()) return at->status();
  }
  if (rows_.empty()) return rocksdb::Status::OK();
  *row = rows_.front();
  rows_.pop_front();
  return rocksdb::Status::OK();
}

void OldestRows::Commit() { gone_before_ = rows_.empty() ? scan_from_ : rows_.front().sequence; }

void OldestRows::Rewind() {
  rows_.clear();
  scan_from_ = gone_before_;
}

void OldestRows::Reset() { *this = OldestRows(); }

}  // namespace skv::kvstore
