#include "bench/corrupt/blob_files.h"

#include <rocksdb/db.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/corrupt/raw_blocks.h"
#include "common/status.h"
#include "kvstore/tier/rocksdb_database.h"

namespace skv::corrupt {
namespace {

struct BlobFile {
  std::filesystem::path path;
  uint64_t num_bytes = 0;
};

absl::Status FlushToFiles(const std::string& folder) {
  SKV_ASSIGN_OR_RETURN(const auto database, kvstore::RocksDbDatabase::Open(
                                                {.folder = folder, .capacity_bytes = kNvmeBytes}));
  const rocksdb::Status status = database->db().Flush(rocksdb::FlushOptions());
  return status.ok() ? absl::OkStatus() : absl::InternalError(status.ToString());
}

std::vector<BlobFile> FindBlobFiles(const std::string& folder) {
  std::vector<BlobFile> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".blob") files.push_back({entry.path(), entry.file_size()});
  }
  std::ranges::sort(files, {}, &BlobFile::path);
  return files;
}

absl::Status FlipBit(const std::filesystem::path& path, uint64_t bit) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(bit / 8));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(bit / 8));
  file.put(static_cast<char>(byte ^ (1 << bit % 8)));
  file.flush();
  if (file.good()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(path.string(), ": cannot be read or written"));
}

}  // namespace

absl::StatusOr<BlobDamage> DamageBlobFiles(const std::string& folder, int count, uint64_t seed) {
  SKV_RETURN_IF_ERROR(FlushToFiles(folder));
  const std::vector<BlobFile> files = FindBlobFiles(folder);
  BlobDamage damage{.num_files = static_cast<int>(files.size())};
  for (const BlobFile& file : files) damage.num_bytes += file.num_bytes;
  if (damage.num_bytes == 0) return absl::NotFoundError(absl::StrCat(folder, ": no blob files"));
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<uint64_t> bits(0, 8 * damage.num_bytes - 1);
  for (int i = 0; i < count; ++i) {
    uint64_t bit = bits(random);
    auto file = files.begin();
    while (bit >= 8 * file->num_bytes) bit -= 8 * (file++)->num_bytes;
    SKV_RETURN_IF_ERROR(FlipBit(file->path, bit));
  }
  return damage;
}

}  // namespace skv::corrupt
