#include "kvstore/tier/rocksdb_database.h"

#include <fcntl.h>
#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/rate_limiter.h>
#include <rocksdb/table.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"
#include "kvstore/block/block_header.h"

namespace skv::kvstore {
namespace {

constexpr std::string_view kDatabasePrefix = "blocks-";  // and the version of blocks
constexpr char kLockName[] = "lock";
constexpr char kBlockPrefix = 'b';
constexpr char kRowPrefix = 'd';
constexpr uint64_t kMinBlobBytes = 64;        // a row is smaller: it lies in a table
constexpr size_t kBlockCacheBytes = 8 << 20;  // of the tables' names and indices; blobs bypass it
// Each holds a descriptor; there is a blob file for every memtable that was written.
constexpr int kMaxOpenFiles = 512;
constexpr int kNumReaders = 4;  // a disk answers several reads in little more time than one
constexpr auto kStallPoll = std::chrono::milliseconds(2);
constexpr int kMaxUnmergedTables = 4;

// Of a disk that may work again later.
bool MayPass(int error) {
  return error == EROFS || error == ENOSPC || error == EDQUOT || error == EIO;
}

absl::Status FolderError(const std::string& folder, std::string_view what) {
  const int error = errno;
  const std::string text = absl::StrCat("nvme tier: folder ", folder, " cannot be used: ", Sv(what),
                                        ": ", std::strerror(error));
  if (MayPass(error)) return absl::UnavailableError(text);
  return absl::FailedPreconditionError(
      absl::StrCat(text, "; give a folder on a disk that this user may write to"));
}

// The lock, held as long as the descriptor is open. RocksDB has one of its own, but says in words
// only that it is taken.
absl::StatusOr<int> LockFolder(const std::string& folder) {
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return FolderError(folder, "mkdir");
  const std::string path = folder + "/" + kLockName;
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return FolderError(folder, "open of its lock");
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  const bool is_taken = errno == EWOULDBLOCK;
  absl::Status error = is_taken ? absl::FailedPreconditionError(absl::StrCat(
                                      "nvme tier: folder ", folder,
                                      " is in use by another process; stop that one, or give each "
                                      "store a folder of its own"))
                                : FolderError(folder, "flock");
  close(fd);
  return error;
}

std::string DatabaseName() { return absl::StrCat(Sv(kDatabasePrefix), kBlockVersion); }

bool IsOtherDatabase(const std::string& name) {
  if (name.rfind(kDatabasePrefix, 0) != 0 || name == DatabaseName()) return false;
  const std::string version = name.substr(kDatabasePrefix.size());
  return !version.empty() && version.find_first_not_of("0123456789") == std::string::npos;
}

// Newer ones, too: they would take up the disk beside this one.
void DeleteOtherDatabases(const std::string& folder) {
  std::vector<std::filesystem::path> others;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (IsOtherDatabase(entry->path().filename().string())) others.push_back(entry->path());
  }
  for (const std::filesystem::path& other : others) {
    std::filesystem::remove_all(other, error);
    SKV_LOG(WARNING) << "nvme tier: " << other.string() << " has blocks of another version, and "
                     << (error ? "cannot be deleted (" + error.message() + "); do so by hand"
                               : "is deleted");
  }
}

// tmpfs and some network file systems cannot.
bool SupportsDirectIo(const std::string& folder) {
  const std::string path = folder + "/" + kLockName;
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (fd < 0) return false;
  close(fd);
  return true;
}

rocksdb::DBOptions MakeDbOptions(const NvmeTierOptions& options) {
  rocksdb::DBOptions db;
  db.create_if_missing = true;
  db.max_open_files = kMaxOpenFiles;
  db.max_background_jobs = 2;
  db.max_total_wal_size = 4 * MemtableBytes(options.capacity_bytes);
  // What the log ends with after a crash may be cut off; all before that is taken.
  db.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  // Blocks are written once and seldom read soon: they should not push other things out of the
  // page cache.
  db.use_direct_io_for_flush_and_compaction = SupportsDirectIo(options.folder);
  db.bytes_per_sync = db.wal_bytes_per_sync = 1 << 20;  // no bursts of write-back
  db.skip_stats_update_on_db_open = true;
  db.stats_dump_period_sec = db.stats_persist_period_sec = 0;
  db.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  db.keep_log_file_num = 2;
  db.max_log_file_size = 1 << 20;
  if (options.write_bytes_per_second > 0) {
    // Half: as many bytes again go to the log, which cannot run ahead of the memtables by more
    // than these hold.
    const auto rate =
        static_cast<int64_t>(std::max<uint64_t>(options.write_bytes_per_second / 2, 1));
    db.rate_limiter.reset(rocksdb::NewGenericRateLimiter(rate));
  }
  return db;
}

// The tables hold only names and rows, about 120 bytes a block.
rocksdb::ColumnFamilyOptions MakeTableOptions(uint64_t memtable_bytes) {
  rocksdb::ColumnFamilyOptions family;
  family.write_buffer_size = memtable_bytes;
  family.max_write_buffer_number = 3;
  family.compression = rocksdb::kNoCompression;  // hashes
  // A blob file goes when no table names one of its blobs any more, so tables are merged at once.
  family.level0_file_num_compaction_trigger = 2;
  // Where merging falls behind, the tier's writes wait for it: a table that is not merged yet keeps
  // a memtable's worth of evicted blocks on the disk. With those that the memtables may still add,
  // 6 tables of 1/32 of the capacity, and the blob files at both ends that are dead in part.
  family.level0_slowdown_writes_trigger = kMaxUnmergedTables;
  family.level0_stop_writes_trigger = kMaxUnmergedTables;
  family.level_compaction_dynamic_level_bytes = true;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(kBlockCacheBytes);
  table.cache_index_and_filter_blocks = true;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  family.enable_blob_files = true;
  family.min_blob_size = kMinBlobBytes;
  family.blob_file_size = memtable_bytes;
  // Blob files are written in the order of eviction, so the oldest becomes garbage as a whole, and
  // RocksDB's collector would only copy blobs that are about to go.
  family.enable_blob_garbage_collection = false;
  return family;
}

bool IsDamage(const rocksdb::Status& status) {
  return status.IsCorruption() || status.IsInvalidArgument() || status.IsNotFound() ||
         status.IsPathNotFound();
}

}  // namespace

uint64_t MemtableBytes(uint64_t capacity_bytes) {
  return std::clamp<uint64_t>(capacity_bytes / 32, 512 << 10, 64 << 20);
}

RocksDbDatabase::RocksDbDatabase(const NvmeTierOptions& options, int lock_fd)
    : options_(options),
      path_(options.folder + "/" + DatabaseName()),
      lock_fd_(lock_fd),
      readers_(kNumReaders, /*spin=*/std::chrono::nanoseconds(0)) {}

absl::StatusOr<std::unique_ptr<RocksDbDatabase>> RocksDbDatabase::Open(
    const NvmeTierOptions& options) {
  SKV_ASSIGN_OR_RETURN(const int lock_fd, LockFolder(options.folder));
  DeleteOtherDatabases(options.folder);
  std::unique_ptr<RocksDbDatabase> database(new RocksDbDatabase(options, lock_fd));
  SKV_RETURN_IF_ERROR(database->OpenOrStartOver());
  return database;
}

RocksDbDatabase::~RocksDbDatabase() {
  db_.reset();
  close(lock_fd_);
}

rocksdb::Status RocksDbDatabase::TryOpen() {
  const rocksdb::Options options(MakeDbOptions(options_),
                                 MakeTableOptions(MemtableBytes(options_.capacity_bytes)));
  rocksdb::DB* db = nullptr;
  rocksdb::Status status = rocksdb::DB::Open(options, path_, &db);
  db_.reset(db);
  return status;
}

absl::Status RocksDbDatabase::OpenOrStartOver() {
  const rocksdb::Status status = TryOpen();
  if (status.ok()) return absl::OkStatus();
  if (IsDamage(status)) return StartOver(status.ToString());
  return absl::UnavailableError(
      absl::StrCat("nvme tier: cannot open ", path_, ": ", status.ToString()));
}

absl::Status RocksDbDatabase::StartOver(std::string_view why) {
  SKV_LOG(WARNING) << "nvme tier: " << path_ << " is damaged (" << why
                   << "); it is deleted, and the tier starts empty";
  db_.reset();
  std::error_code error;
  std::filesystem::remove_all(path_, error);
  if (error) {
    const std::string text =
        absl::StrCat("nvme tier: cannot delete ", path_, ": ", error.message());
    if (MayPass(error.value())) return absl::UnavailableError(text);
    return absl::FailedPreconditionError(absl::StrCat(text, "; delete it by hand"));
  }
  const rocksdb::Status status = TryOpen();
  if (status.ok()) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("nvme tier: cannot make ", path_, ": ", status.ToString()));
}

std::vector<rocksdb::Status> RocksDbDatabase::Read(const std::vector<std::string>& names,
                                                   TimePoint deadline,
                                                   std::vector<rocksdb::PinnableSlice>* found) {
  const std::vector<rocksdb::Slice> slices(names.begin(), names.end());
  std::vector<rocksdb::Status> statuses(names.size());
  *found = std::vector<rocksdb::PinnableSlice>(names.size());
  rocksdb::ReadOptions options;
  options.verify_checksums = false;  // the caller's is of the same bytes
  const Duration left =
      std::max(deadline - RealClock().Now(), Duration(std::chrono::microseconds(1)));
  options.deadline = std::chrono::microseconds(rocksdb::Env::Default()->NowMicros()) +
                     std::chrono::duration_cast<std::chrono::microseconds>(left);
  const size_t num_parts = std::min<size_t>(names.size(), readers_.num_threads());
  readers_.ParallelFor(static_cast<int>(num_parts), [&](int part, int) {
    const size_t begin = names.size() * part / num_parts;
    const size_t end = names.size() * (part + 1) / num_parts;
    db_->MultiGet(options, db_->DefaultColumnFamily(), end - begin, &slices[begin],
                  &(*found)[begin], &statuses[begin]);
  });
  return statuses;
}

rocksdb::Status RocksDbDatabase::Write(rocksdb::WriteBatch* batch, TimePoint stalled_until) {
  rocksdb::WriteOptions options;
  options.no_slowdown = true;  // RocksDB would wait without end
  while (true) {
    rocksdb::Status status = db_->Write(options, batch);
    if (!status.IsIncomplete() || RealClock().Now() >= stalled_until) return status;
    std::this_thread::sleep_for(kStallPoll);
  }
}

std::string BlockName(const EncodedTierKey& key) {
  return std::string(1, kBlockPrefix).append(View(key));
}

std::string RowName(uint64_t sequence) {
  std::string bytes(9, kRowPrefix);
  for (size_t i = 0; i < 8; ++i) bytes[1 + i] = static_cast<char>(sequence >> (56 - 8 * i));
  return bytes;
}

std::string EncodeRowValue(const EncodedTierKey& key, uint64_t size) {
  std::string bytes(key.data(), key.size());
  bytes.append(reinterpret_cast<const char*>(&size), sizeof(size));
  return bytes;
}

std::optional<DirectoryRow> DecodeRow(const rocksdb::Slice& name, const rocksdb::Slice& value) {
  if (name.size() != 9 || name[0] != kRowPrefix) return std::nullopt;
  if (value.size() != kTierKeyBytes + 8) return std::nullopt;
  DirectoryRow row;
  for (size_t i = 1; i < 9; ++i) {
    row.sequence = row.sequence << 8 | static_cast<unsigned char>(name[i]);
  }
  row.key = *DecodeTierKey({value.data(), kTierKeyBytes});
  std::memcpy(&row.size, value.data() + kTierKeyBytes, sizeof(row.size));
  if (row.size > kMaxTierBlockBytes || row.sequence >> 62 != 0) return std::nullopt;
  return row;
}

}  // namespace skv::kvstore
