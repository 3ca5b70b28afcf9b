#include <rocksdb/db.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/corrupt/block_series.h"
#include "bench/corrupt/raw_blocks.h"
#include "common/status.h"
#include "kvstore/tier/rocksdb_database.h"
#include "kvstore/tier/tier_key.h"

namespace skv::corrupt {
namespace {

using kvstore::RocksDbDatabase;

class NvmeBlocks : public RawBlocks {
 public:
  explicit NvmeBlocks(std::unique_ptr<RocksDbDatabase> database) : database_(std::move(database)) {}

  absl::StatusOr<std::string> Read(const PrefixKey& key) override {
    rocksdb::ReadOptions options;
    options.verify_checksums = false;
    std::string bytes;
    const rocksdb::Status status = database_->db().Get(options, NameOf(key), &bytes);
    if (status.ok()) return bytes;
    const std::string problem = absl::StrCat("nvme: ", ToHex(key), ": ", status.ToString());
    return status.IsNotFound() ? absl::NotFoundError(problem) : absl::DataLossError(problem);
  }

  absl::Status FlipBit(const PrefixKey& key, uint64_t bit) override {
    SKV_ASSIGN_OR_RETURN(std::string bytes, Read(key));
    if (bit / 8 >= bytes.size()) return absl::NotFoundError("nvme: a block is shorter");
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    const rocksdb::Status status = database_->db().Put(rocksdb::WriteOptions(), NameOf(key), bytes);
    return status.ok() ? absl::OkStatus() : absl::InternalError(status.ToString());
  }

 private:
  static std::string NameOf(const PrefixKey& key) {
    return kvstore::BlockName(kvstore::EncodeTierKey({{key, kLayout}, 0}));
  }

  const std::unique_ptr<RocksDbDatabase> database_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RawBlocks>> OpenNvmeBlocks(const std::string& folder) {
  SKV_ASSIGN_OR_RETURN(auto database,
                       RocksDbDatabase::Open({.folder = folder, .capacity_bytes = kNvmeBytes}));
  return std::make_unique<NvmeBlocks>(std::move(database));
}

}  // namespace skv::corrupt
