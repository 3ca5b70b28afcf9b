#include "kvstore/server/tier_setup.h"

#include <sys/mount.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "kvstore/tier/testing/test_blocks.h"

namespace skv::kvstore {
namespace {

namespace fs = std::filesystem;

// Otherwise a store that is started again would throw away what no longer fits.
TEST(DefaultNvmeBytesTest, WhatTheFolderHoldsIsRoomForIt) {
  const TestFolder parent;
  const std::string disk = parent.path() + "/disk";
  fs::create_directory(disk);
  if (mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=100m") != 0) {
    GTEST_SKIP() << "needs the right to mount a file system";
  }
  const std::string folder = disk + "/nvme";
  constexpr uint64_t kArena = uint64_t{1} << 30;
  ASSERT_OK_AND_ASSIGN(const uint64_t empty, DefaultNvmeBytes(folder, kArena));
  EXPECT_EQ(empty, static_cast<uint64_t>(0.6 * (100 << 20)));
  fs::create_directories(folder + "/blocks-2");
  std::ofstream(folder + "/blocks-2/000012.blob") << std::string(50 << 20, 'x');
  ASSERT_OK_AND_ASSIGN(const uint64_t half_full, DefaultNvmeBytes(folder, kArena));
  EXPECT_EQ(half_full, empty);
  umount2(disk.c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace skv::kvstore
