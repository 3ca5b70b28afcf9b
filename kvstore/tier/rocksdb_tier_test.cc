#include "kvstore/tier/rocksdb_tier.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <fstream>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/process.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/block/block_header.h"
#include "kvstore/tier/nvme_index.h"
#include "kvstore/tier/rocksdb_database.h"
#include "kvstore/tier/testing/test_blocks.h"

namespace skv::kvstore {
namespace {

namespace fs = std::filesystem;

using absl::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr uint64_t kCapacity = 32 << 20;
constexpr size_t kBlockBytes = 100'000;

class RocksDbTierTest : public testing::Test {
 protected:
  NvmeTierOptions options(uint64_t capacity = kCapacity) const {
    return {.folder = path(), .capacity_bytes = capacity};
  }
  std::unique_ptr<Tier> Open(uint64_t capacity = kCapacity) const {
    auto tier = OpenRocksDbTier(options(capacity));
    SKV_CHECK(tier.ok()) << tier.status();
    return *std::move(tier);
  }
  std::string path() const { return folder_.path() + "/nvme"; }

  // Files of the database whose names end so.
  std::vector<fs::path> Files(const std::string& end) const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(path())) {
      if (absl::EndsWith(entry.path().string(), end)) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
  }
  uint64_t BytesOf(const std::string& end) const {
    uint64_t bytes = 0;
    std::error_code error;  // files go while they are counted
    for (const fs::path& file : Files(end)) {
      const uint64_t size = fs::file_size(file, error);
      if (!error) bytes += size;
    }
    return bytes;
  }

  TestFolder folder_;
};

TEST_F(RocksDbTierTest, OptionsAreChecked) {
  EXPECT_THAT(OpenRocksDbTier(options(1 << 20)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("at least 16777216")));
  EXPECT_THAT(OpenRocksDbTier({.folder = "/nonexistent/folder", .capacity_bytes = kCapacity}),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("/nonexistent/folder")));
}

TEST_F(RocksDbTierTest, FolderInUseIsNamed) {
  auto tier = Open();
  EXPECT_THAT(OpenRocksDbTier(options()),
              StatusIs(StatusCode::kFailedPrecondition,
                       HasSubstr(path() + " is in use by another process; stop that one")));
  ASSERT_OK(PutOne(*tier, 1, kBlockBytes));
  tier.reset();
  EXPECT_TRUE(IsTestBlock(GetOne(*Open(), 1), 1, kBlockBytes));
}

TEST_F(RocksDbTierTest, BlocksOutliveTheTier) {
  auto tier = Open();
  for (uint64_t i = 0; i < 200; ++i) ASSERT_OK(PutOne(*tier, i, kBlockBytes));
  ASSERT_OK(EraseOne(*tier, 7));
  tier = nullptr;
  tier = Open();
  EXPECT_EQ(tier->gauges().num_blocks, 199u);
  EXPECT_EQ(tier->gauges().num_bytes, 199 * kBlockBytes);
  for (uint64_t i = 0; i < 200; ++i) {
    EXPECT_EQ(IsTestBlock(GetOne(*tier, i), i, kBlockBytes), i != 7) << i;
  }
}

// Its names would say that blocks are there which nobody can read, and so are never written anew.
TEST_F(RocksDbTierTest, BlocksOfAnotherVersionAreDeleted) {
  ASSERT_OK(PutOne(*Open(), 1, kBlockBytes));
  const std::string current = absl::StrCat(path(), "/blocks-", kBlockVersion);
  for (const char* const other : {"/blocks-1", "/blocks-99"}) {
    ASSERT_NE(path() + other, current);
    fs::copy(current, path() + other, fs::copy_options::recursive);
  }
  fs::create_directory(path() + "/of the user");
  const auto tier = Open();
  EXPECT_FALSE(fs::exists(path() + "/blocks-1"));
  EXPECT_FALSE(fs::exists(path() + "/blocks-99"));
  EXPECT_TRUE(fs::exists(path() + "/of the user"));
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 1), 1, kBlockBytes));
}

TEST_F(RocksDbTierTest, OldestGoesFirstUnlessItWasRead) {
  const auto tier = Open();
  const uint64_t num_fit = kCapacity / kBlockBytes;
  for (uint64_t i = 0; i < num_fit; ++i) ASSERT_OK(PutOne(*tier, i, kBlockBytes));
  EXPECT_EQ(tier->gauges().num_evicted_blocks, 0u);
  ASSERT_OK(GetOne(*tier, 1));
  for (uint64_t i = 0; i < 3; ++i) ASSERT_OK(PutOne(*tier, 1000 + i, kBlockBytes));
  // 0, 2 and 3 went; 1 was read, and was written again at the back.
  EXPECT_EQ(tier->gauges().num_evicted_blocks, 3u);
  for (const uint64_t gone : {0, 2, 3}) {
    EXPECT_THAT(GetOne(*tier, gone), StatusIs(StatusCode::kNotFound, HasSubstr("")));
  }
  const TierGauges gauges = tier->gauges();
  EXPECT_EQ(gauges.num_blocks, num_fit);
  EXPECT_EQ(gauges.num_bytes, num_fit * kBlockBytes);
  // 1 outlives all that it came with.
  for (uint64_t i = 4; i < num_fit; ++i) ASSERT_OK(PutOne(*tier, 2000 + i, kBlockBytes));
  EXPECT_THAT(GetOne(*tier, num_fit - 1), StatusIs(StatusCode::kNotFound, HasSubstr("")));
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 1), 1, kBlockBytes));
}

TEST_F(RocksDbTierTest, WhatWasErasedIsNotEvictedAsWell) {
  const auto tier = Open();
  const uint64_t num_fit = kCapacity / kBlockBytes;
  for (uint64_t i = 0; i <= num_fit; ++i) ASSERT_OK(PutOne(*tier, i, kBlockBytes));  // 0 went
  ASSERT_OK(EraseOne(*tier, 5));
  ASSERT_OK(PutOne(*tier, 5, kBlockBytes));
  for (uint64_t i = 0; i < 10; ++i) ASSERT_OK(PutOne(*tier, 1000 + i, kBlockBytes));
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 5), 5, kBlockBytes)) << "it is new";
  EXPECT_EQ(tier->gauges().num_bytes, num_fit * kBlockBytes);
  EXPECT_EQ(tier->gauges().num_evicted_blocks, 11u);
}

TEST_F(RocksDbTierTest, ReadBlocksGoToTheBackOnlyOnce) {
  const auto tier = Open();
  const uint64_t num_fit = kCapacity / kBlockBytes;
  for (uint64_t i = 0; i < num_fit; ++i) ASSERT_OK(PutOne(*tier, i, kBlockBytes));
  ASSERT_OK(GetOne(*tier, 0));
  for (uint64_t i = 0; i < 2 * num_fit + 2; ++i) ASSERT_OK(PutOne(*tier, 1000 + i, kBlockBytes));
  EXPECT_THAT(GetOne(*tier, 0), StatusIs(StatusCode::kNotFound, HasSubstr("")));
}

TEST_F(RocksDbTierTest, WhenAllWereReadTheOldestStillGo) {
  const auto tier = Open();
  const uint64_t num_fit = kCapacity / kBlockBytes;
  for (uint64_t i = 0; i < num_fit; ++i) ASSERT_OK(PutOne(*tier, i, kBlockBytes));
  for (uint64_t i = 0; i < num_fit; ++i) ASSERT_OK(GetOne(*tier, i));
  for (uint64_t i = 0; i < num_fit; ++i) ASSERT_OK(PutOne(*tier, 1000 + i, kBlockBytes));
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 1000 + num_fit - 1), 1000 + num_fit - 1, kBlockBytes));
  EXPECT_EQ(tier->gauges().num_bytes, num_fit * kBlockBytes);
}

TEST_F(RocksDbTierTest, OrderOutlivesTheTier) {
  const uint64_t num_fit = kCapacity / kBlockBytes;
  auto tier = Open();
  for (uint64_t i = 0; i < num_fit + 10; ++i) ASSERT_OK(PutOne(*tier, i, kBlockBytes));
  tier = nullptr;
  tier = Open();
  ASSERT_OK(PutOne(*tier, 1000, kBlockBytes));
  EXPECT_THAT(GetOne(*tier, 10), StatusIs(StatusCode::kNotFound, HasSubstr("")));
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 11), 11, kBlockBytes));
}

TEST_F(RocksDbTierTest, SmallerCapacityIsKeptAtOnce) {
  auto tier = Open();
  for (uint64_t i = 0; i < 300; ++i) ASSERT_OK(PutOne(*tier, i, kBlockBytes));
  tier = nullptr;
  tier = Open(kMinNvmeCapacityBytes);
  EXPECT_LE(tier->gauges().num_bytes, kMinNvmeCapacityBytes);
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 299), 299, kBlockBytes));
  EXPECT_THAT(GetOne(*tier, 0), StatusIs(StatusCode::kNotFound, HasSubstr("")));
}

TEST_F(RocksDbTierTest, BlocksLargerThanTheCapacityAreRefused) {
  const auto tier = Open();
  ASSERT_OK(PutOne(*tier, 1, kBlockBytes));
  EXPECT_THAT(PutOne(*tier, 2, kCapacity + 1),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("in a capacity of")));
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 1), 1, kBlockBytes));
  ASSERT_OK(PutOne(*tier, 3, kCapacity));
  EXPECT_EQ(tier->gauges().num_blocks, 1u);
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 3), 3, kCapacity));
}

// The header's factor, while eight times the capacity passes through and some of it is read.
TEST_F(RocksDbTierTest, FilesStayNearTheCapacity) {
  const auto tier = Open();
  std::mt19937 random(1);
  uint64_t most = 0, most_log = 0;
  for (uint64_t i = 0; i < 8 * kCapacity / kBlockBytes; ++i) {
    ASSERT_OK(PutOne(*tier, i, kBlockBytes));
    for (int j = 0; j < 2; ++j) (void)GetOne(*tier, i - std::min<uint64_t>(i, random() % 300));
    if (i % 20 != 0) continue;
    most = std::max(most, BytesOf(".blob") + BytesOf(".sst"));
    most_log = std::max(most_log, BytesOf(".log"));
  }
  EXPECT_GE(tier->gauges().num_bytes, kCapacity - kBlockBytes);
  EXPECT_LE(static_cast<double>(most), 1.3 * kCapacity);
  EXPECT_LE(most_log, 5 * MemtableBytes(kCapacity));
  RecordProperty("most_bytes", std::to_string(most));
  std::cout << "files: " << static_cast<double>(most) / kCapacity
            << " of the capacity, log: " << static_cast<double>(most_log) / kCapacity << "\n";
}

TEST_F(RocksDbTierTest, RateIsKept) {
  NvmeTierOptions slow = options();
  slow.write_bytes_per_second = 6 << 20;
  auto tier = OpenRocksDbTier(slow).value();
  const TimePoint start = RealClock().Now();
  for (uint64_t i = 0; i < 80; ++i) ASSERT_OK(PutOne(*tier, i, kBlockBytes));
  // 16 MB in all, of which what fits into 3 memtables is still to be written.
  EXPECT_GE(ToSeconds(RealClock().Now() - start), 1.2);
  // One that cannot wait is told so, and harms nothing.
  absl::Status status;
  for (uint64_t i = 100; i < 200 && status.ok(); ++i) {
    status = PutOne(*tier, i, kBlockBytes, RealClock().Now());
  }
  EXPECT_THAT(status, StatusIs(StatusCode::kDeadlineExceeded, HasSubstr("behind")));
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 79), 79, kBlockBytes));
  EXPECT_OK(PutOne(*tier, 300, kBlockBytes));
}

// Reads wait for whatever call is under way.
TEST_F(RocksDbTierTest, NoCallWaitsLongForADiskThatIsBehind) {
  NvmeTierOptions slow = options();
  slow.write_bytes_per_second = 1 << 20;  // a memtable takes two seconds
  const auto tier = OpenRocksDbTier(slow).value();
  absl::Status status;
  uint64_t num_put = 0;
  double longest = 0;
  while (status.ok() && num_put < 200) {
    const std::vector<std::byte> bytes = TestBytes(num_put, kBlockBytes);
    const TierBlock block = {TestKey(num_put), bytes};
    const TimePoint start = RealClock().Now();
    status = tier->Put({&block, 1}, Soon());
    longest = std::max(longest, ToSeconds(RealClock().Now() - start));
    if (status.ok()) ++num_put;
  }
  EXPECT_THAT(status, StatusIs(StatusCode::kDeadlineExceeded, HasSubstr("behind")));
  EXPECT_LT(longest, 10 * ToSeconds(kMaxStall)) << "a busy machine has its part in it";
  EXPECT_TRUE(tier->gauges().is_on);
  const TierKey key = TestKey(0);
  const TimePoint start = RealClock().Now();
  EXPECT_THAT(tier->Erase({&key, 1}, Soon()),
              StatusIs(StatusCode::kDeadlineExceeded, HasSubstr("behind")));
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, num_put - 1), num_put - 1, kBlockBytes));
  EXPECT_LT(ToSeconds(RealClock().Now() - start), 0.25);
  EXPECT_OK(PutOne(*tier, num_put, kBlockBytes)) << "it comes to it at last";
}

// Runs in a process of its own, which is killed meanwhile: puts blocks, and notes each that is put.
TEST(DISABLED_KilledWriter, Puts) {
  const char* folder = std::getenv("SKV_TEST_FOLDER");
  ASSERT_NE(folder, nullptr);
  auto tier =
      OpenRocksDbTier({.folder = absl::StrCat(folder, "/nvme"), .capacity_bytes = kCapacity});
  ASSERT_OK(tier);
  const int notes =
      open(absl::StrCat(folder, "/notes").c_str(), O_WRONLY | O_APPEND | O_CREAT, 0600);
  for (uint64_t i = (*tier)->gauges().num_blocks * 1000;; ++i) {
    ASSERT_OK(PutOne(**tier, i, kBlockBytes));
    ASSERT_EQ(write(notes, &i, sizeof(i)), 8);
  }
}

TEST_F(RocksDbTierTest, KilledWhileItWrites) {
  std::mt19937 random(7);
  std::vector<uint64_t> noted;
  for (int round = 0; round < 5; ++round) {
    ASSERT_OK_AND_ASSIGN(auto child,
                         ScopedChild::Start({.args = {fs::read_symlink("/proc/self/exe").string(),
                                                      "--gtest_also_run_disabled_tests",
                                                      "--gtest_filter=DISABLED_KilledWriter.Puts"},
                                             .environment = {"SKV_TEST_FOLDER=" + folder_.path()},
                                             .log_path = folder_.path() + "/log"}));
    const std::string notes = folder_.path() + "/notes";
    const size_t wanted = (noted.size() + 20 + random() % 400) * 8;
    const TimePoint deadline = Soon();
    while ((!fs::exists(notes) || fs::file_size(notes) < wanted) && RealClock().Now() < deadline) {
      ASSERT_FALSE(child->Wait(milliseconds(2))) << "the writer ended by itself";
    }
    child->Signal(SIGKILL);
    ASSERT_TRUE(child->Wait(seconds(20)));
    noted.assign(fs::file_size(notes) / 8, 0);
    std::ifstream(notes).read(reinterpret_cast<char*>(noted.data()),
                              static_cast<std::streamsize>(8 * noted.size()));
    ASSERT_GE(8 * noted.size(), wanted);

    const auto tier = Open();
    // The last ones that were noted are there, up to the capacity and what followed unnoted.
    const size_t num_kept = std::min<size_t>(noted.size(), kCapacity / kBlockBytes - 1);
    for (size_t i = noted.size() - num_kept; i < noted.size(); ++i) {
      EXPECT_TRUE(IsTestBlock(GetOne(*tier, noted[i]), noted[i], kBlockBytes)) << noted[i];
    }
    const TierGauges gauges = tier->gauges();
    EXPECT_LE(gauges.num_bytes, kCapacity);
    EXPECT_GE(gauges.num_blocks, num_kept);
    EXPECT_LE(gauges.num_blocks, num_kept + 1);
  }
}

void FlipByte(const fs::path& file, uint64_t offset) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(offset));
  const char byte = static_cast<char>(stream.get() ^ 0x55);
  stream.seekp(static_cast<std::streamoff>(offset));
  stream.put(byte);
}

// Every file of a database in turn cut off, deleted, or changed in a place: it opens, what it says
// is there can be asked for, and it takes blocks.
TEST_F(RocksDbTierTest, DamagedFilesAreSurvived) {
  constexpr uint64_t kNumBlocks = 25;
  {
    const auto tier = Open();
    for (uint64_t i = 0; i < kNumBlocks; ++i) ASSERT_OK(PutOne(*tier, i, kBlockBytes));
  }
  const fs::path original = folder_.path() + "/original";
  fs::rename(path(), original);
  fs::copy(original, path(), fs::copy_options::recursive);
  std::vector<std::string> names;
  for (const fs::path& file : Files("")) {
    if (fs::is_regular_file(file) && !absl::StrContains(file.filename().string(), "LO")) {
      names.push_back(fs::relative(file, path()).string());
    }
  }
  ASSERT_GE(names.size(), 8u);
  std::mt19937 random(3);
  int num_emptied = 0, num_damaged = 0;
  for (const std::string& name : names) {
    for (int damage = 0; damage < 4; ++damage) {
      fs::remove_all(path());
      fs::copy(original, path(), fs::copy_options::recursive);
      const fs::path file = fs::path(path()) / name;
      const uint64_t size = fs::file_size(file);
      if (damage == 0) fs::remove(file);
      if (damage == 1) fs::resize_file(file, size / 2);
      if (damage >= 2 && size > 0) FlipByte(file, random() % size);
      auto tier = OpenRocksDbTier(options());
      ASSERT_OK(tier) << name << " " << damage;
      num_emptied += (*tier)->gauges().num_blocks == 0 ? 1 : 0;
      for (uint64_t i = 0; i < kNumBlocks; ++i) {
        const auto value = GetOne(**tier, i);
        if (value.ok()) {
          if (!IsTestBlock(value, i, kBlockBytes)) ++num_damaged;
          continue;
        }
        EXPECT_TRUE(absl::IsNotFound(value.status()) || absl::IsDataLoss(value.status()) ||
                    absl::IsUnavailable(value.status()))
            << value.status();
      }
      absl::Status status;
      for (int tries = 0; tries < 3; ++tries) {  // one is told of a failure behind its back
        status = PutOne(**tier, 1000, kBlockBytes);
        if (status.ok()) break;
      }
      EXPECT_OK(status) << name << " " << damage;
      EXPECT_TRUE(IsTestBlock(GetOne(**tier, 1000), 1000, kBlockBytes)) << name << " " << damage;
    }
  }
  EXPECT_GT(num_emptied, 0);
  EXPECT_LT(num_emptied, static_cast<int>(names.size()) * 4);
  std::cout << 4 * names.size() << " damages: " << num_emptied << " times emptied, " << num_damaged
            << " blocks came damaged\n";
}

// A file system of its own.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& path) : path_(path) {
    fs::create_directory(path);
    is_mounted_ = mount("tmpfs", path.c_str(), "tmpfs", 0, "size=48m") == 0;
  }
  ~SmallDisk() {
    if (is_mounted_) umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool is_mounted() const { return is_mounted_; }
  bool Resize(int megabytes) const {
    return mount("tmpfs", path_.c_str(), "tmpfs", MS_REMOUNT,
                 absl::StrCat("size=", megabytes, "m").c_str()) == 0;
  }
  bool SetReadOnly(bool is_read_only) const {
    return mount("tmpfs", path_.c_str(), "tmpfs", MS_REMOUNT | (is_read_only ? MS_RDONLY : 0),
                 "size=48m") == 0;
  }

 private:
  const std::string path_;
  bool is_mounted_ = false;
};

// A file system over itself, read-only for all that is opened while this lives.
class ReadOnlyCover {
 public:
  explicit ReadOnlyCover(const std::string& path) : path_(path) {
    is_mounted_ =
        mount(path.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) == 0 &&
        mount(nullptr, path.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0;
  }
  ~ReadOnlyCover() { umount2(path_.c_str(), MNT_DETACH); }
  ReadOnlyCover(const ReadOnlyCover&) = delete;
  ReadOnlyCover& operator=(const ReadOnlyCover&) = delete;
  bool is_mounted() const { return is_mounted_; }

 private:
  const std::string path_;
  bool is_mounted_ = false;
};

// Puts blocks until the disk is full; those that are there can be read all the while.
void FillUp(Tier& tier, uint64_t first) {
  absl::Status status;
  for (uint64_t i = first; status.ok() && i < first + 900; ++i) {
    status = PutOne(tier, i, kBlockBytes);
  }
  EXPECT_THAT(status, StatusIs(StatusCode::kResourceExhausted, HasSubstr("takes no more")));
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(PutOne(tier, 5000, kBlockBytes),
                StatusIs(StatusCode::kResourceExhausted, HasSubstr("")));
  }
  EXPECT_TRUE(tier.gauges().is_on);
  EXPECT_TRUE(IsTestBlock(GetOne(tier, 0), 0, kBlockBytes));
  EXPECT_TRUE(IsTestBlock(GetOne(tier, first), first, kBlockBytes));
}

TEST_F(RocksDbTierTest, FullDiskTakesNoMoreUntilThereIsRoom) {
  const SmallDisk disk(folder_.path() + "/disk");
  if (!disk.is_mounted()) GTEST_SKIP() << "needs the right to mount a file system";
  const std::string filler = folder_.path() + "/disk/filler";
  std::ofstream(filler) << std::string(20 << 20, 'x');
  ASSERT_EQ(fs::file_size(filler), 20u << 20);
  const NvmeTierOptions large = {.folder = folder_.path() + "/disk/nvme",
                                 .capacity_bytes = 128 << 20};
  auto tier = OpenRocksDbTier(large).value();
  FillUp(*tier, 0);
  fs::remove(filler);
  ASSERT_OK(PutOne(*tier, 900, kBlockBytes));
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 900), 900, kBlockBytes));
  FillUp(*tier, 1000);
  // It opens when there is room, if not before.
  tier.reset();
  tier = OpenRocksDbTier(large).value();
  const auto value = GetOne(*tier, 0);
  EXPECT_TRUE(absl::IsUnavailable(value.status()) || IsTestBlock(value, 0, kBlockBytes));
  tier.reset();
  ASSERT_TRUE(disk.Resize(64));
  tier = OpenRocksDbTier(large).value();
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 0), 0, kBlockBytes));
  EXPECT_OK(PutOne(*tier, 2000, kBlockBytes));
}

// Puts new blocks until one is taken, as a tier may tell of a failure behind its back.
bool TakesBlocksAgain(Tier& tier, uint64_t first) {
  for (uint64_t i = first; i < first + 5; ++i) {
    if (PutOne(tier, i, kBlockBytes).ok()) return IsTestBlock(GetOne(tier, i), i, kBlockBytes);
  }
  return false;
}

TEST_F(RocksDbTierTest, ReadOnlyDiskAtTheStartIsTriedAgain) {
  const SmallDisk disk(folder_.path() + "/disk");
  if (!disk.is_mounted()) GTEST_SKIP() << "needs the right to mount a file system";
  const NvmeTierOptions on_disk = {.folder = folder_.path() + "/disk/nvme",
                                   .capacity_bytes = kCapacity};
  ASSERT_OK(PutOne(*OpenRocksDbTier(on_disk).value(), 1, kBlockBytes));
  ASSERT_TRUE(disk.SetReadOnly(true));
  ASSERT_OK_AND_ASSIGN(const auto tier, OpenRocksDbTier(on_disk));
  EXPECT_THAT(GetOne(*tier, 1),
              StatusIs(StatusCode::kUnavailable, HasSubstr("Read-only file system")));
  EXPECT_THAT(PutOne(*tier, 2, kBlockBytes), StatusIs(StatusCode::kUnavailable, HasSubstr("")));
  EXPECT_FALSE(tier->gauges().is_on);
  ASSERT_TRUE(disk.SetReadOnly(false));
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 1), 1, kBlockBytes));
  EXPECT_TRUE(TakesBlocksAgain(*tier, 2));
}

// As of a disk that the kernel makes read-only after an error, but that files which are open for
// writing still can be written.
TEST_F(RocksDbTierTest, DiskThatBecomesReadOnlyIsReadAndTriedAgain) {
  const SmallDisk disk(folder_.path() + "/disk");
  if (!disk.is_mounted()) GTEST_SKIP() << "needs the right to mount a file system";
  const NvmeTierOptions on_disk = {.folder = folder_.path() + "/disk/nvme",
                                   .capacity_bytes = kCapacity};
  const auto tier = OpenRocksDbTier(on_disk).value();
  for (uint64_t round = 0; round < 3; ++round) {
    const uint64_t first = 1000 * round;
    ASSERT_OK(PutOne(*tier, first, kBlockBytes));
    {
      const ReadOnlyCover cover(folder_.path() + "/disk");
      ASSERT_TRUE(cover.is_mounted());
      FillUp(*tier, first + 1);
    }
    EXPECT_TRUE(TakesBlocksAgain(*tier, first + 990));
  }
}

TEST(NvmeIndexTest, TakesAtMost48BytesABlock) {
  // absl grows by doubling when it is 7/8 full, which is the worst moment.
  for (const size_t num_blocks : {size_t{7} << 14, (size_t{7} << 14) + 1}) {
    NvmeIndex index;
    for (uint64_t i = 0; i < num_blocks; ++i) {
      index.Set(NvmeIndex::Hash(TestKey(i)), {.sequence = i});
    }
    EXPECT_EQ(index.size(), num_blocks);
    EXPECT_LE(static_cast<double>(index.num_bytes()) / static_cast<double>(num_blocks), 48);
  }
}

}  // namespace
}  // namespace skv::kvstore
