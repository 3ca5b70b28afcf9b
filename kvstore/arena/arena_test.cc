#include "kvstore/arena/arena.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/testing/fake_clock.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/arena/memory_room.h"

namespace skv::kvstore {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;

// A machine of the test's making: files below a temporary folder.
class FakeSystem {
 public:
  FakeSystem()
      : root_(absl::StrCat(testing::TempDir(), "/arena_", getpid(), "_",
                           testing::UnitTest::GetInstance()->current_test_info()->name())) {
    Write("/proc/meminfo", "MemTotal:       99999 kB\nMemAvailable:   1048576 kB\n");
  }
  ~FakeSystem() { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void Remove(const std::string& path) { std::filesystem::remove(root_ + path); }
  const std::string& root() const { return root_; }

 private:
  const std::string root_;
};

TEST(ArenaTest, WhatOneMappingWritesTheOtherReads) {
  ASSERT_OK_AND_ASSIGN(const auto arena, Arena::Create({.num_bytes = kMiB + 1}, RealClock()));
  EXPECT_EQ(arena->num_bytes() % 4096, 0u);
  EXPECT_GE(arena->num_bytes(), kMiB + 1);
  void* other = mmap(nullptr, arena->num_bytes(), PROT_READ, MAP_SHARED, arena->fd(), 0);
  ASSERT_NE(other, MAP_FAILED);
  EXPECT_EQ(arena->Bytes(kMiB, 1)[0], std::byte{0});
  arena->Bytes(kMiB, 1)[0] = std::byte{7};
  EXPECT_EQ(static_cast<std::byte*>(other)[kMiB], std::byte{7});
  munmap(other, arena->num_bytes());
}

TEST(ArenaTest, NobodyCanResizeOrSealItAndExecClosesIt) {
  ASSERT_OK_AND_ASSIGN(const auto arena, Arena::Create({.num_bytes = kMiB}, RealClock()));
  EXPECT_NE(ftruncate(arena->fd(), 0), 0);
  EXPECT_NE(ftruncate(arena->fd(), 2 * kMiB), 0);
  EXPECT_NE(fcntl(arena->fd(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
  EXPECT_NE(fcntl(arena->fd(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(ArenaTest, AllPagesAreThereBeforeAnyoneTouchesThem) {
  ASSERT_OK_AND_ASSIGN(const auto arena, Arena::Create({.num_bytes = 8 * kMiB}, RealClock()));
  struct stat info = {};
  ASSERT_EQ(fstat(arena->fd(), &info), 0);
  EXPECT_EQ(static_cast<uint64_t>(info.st_blocks) * 512, 8 * kMiB);
  std::vector<unsigned char> resident(8 * kMiB / 4096);
  ASSERT_EQ(mincore(arena->Bytes(0, 1).data(), 8 * kMiB, resident.data()), 0);
  for (const unsigned char page : resident) ASSERT_EQ(page & 1, 1);
}

TEST(ArenaTest, ProgressIsToldInPiecesAndCanCancel) {
  std::vector<uint64_t> told;
  ArenaOptions options = {.num_bytes = 130 * kMiB};
  options.on_progress = [&](uint64_t num_bytes) {
    told.push_back(num_bytes / kMiB);
    return true;
  };
  ASSERT_OK(Arena::Create(options, RealClock()));
  EXPECT_THAT(told, ElementsAre(64, 128, 130));
  options.on_progress = [&](uint64_t) { return false; };
  EXPECT_THAT(Arena::Create(options, RealClock()),
              StatusIs(absl::StatusCode::kCancelled,
                       HasSubstr("cancelled after 67108864 of 136314880 bytes")));
}

TEST(ArenaTest, ADeadlineEndsThePreparation) {
  FakeClock clock;
  ArenaOptions options = {.num_bytes = 130 * kMiB};
  options.deadline = clock.Now() + std::chrono::seconds(1);
  options.on_progress = [&](uint64_t) {
    clock.Advance(std::chrono::milliseconds(600));
    return true;
  };
  EXPECT_THAT(Arena::Create(options, clock),
              StatusIs(absl::StatusCode::kDeadlineExceeded,
                       HasSubstr("took 134217728 of 136314880 bytes in time")));
}

TEST(ArenaTest, MoreThanTheMachineHasIsResourceExhausted) {
  FakeSystem system;
  ArenaOptions options = {.num_bytes = 800 * kMiB, .system_root = system.root()};
  EXPECT_THAT(Arena::Create(options, RealClock()),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("838860800 bytes wanted"),
                             HasSubstr("1073741824 bytes of memory are left by MemAvailable"),
                             HasSubstr("268435456 are to stay free"))));
  for (const uint64_t num_bytes : {uint64_t{1} << 62, UINT64_MAX}) {
    EXPECT_THAT(Arena::Create({.num_bytes = num_bytes}, RealClock()),
                StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("bytes wanted")));
  }
  EXPECT_THAT(Arena::Create({}, RealClock()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("0 bytes")));
}

TEST(ArenaTest, RoomThatOthersTakeMeanwhileIsNoticed) {
  FakeSystem system;
  ArenaOptions options = {.num_bytes = 256 * kMiB, .system_root = system.root()};
  options.on_progress = [&](uint64_t) {
    system.Write("/proc/meminfo", "MemAvailable: 409600 kB\n");
    return true;
  };
  EXPECT_THAT(Arena::Create(options, RealClock()),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("67108864 taken")));
}

TEST(ArenaTest, PagesThatItHasTakenAreNotWantedAgain) {
  FakeSystem system;
  const auto leave = [&](uint64_t num_mib) {
    system.Write("/proc/meminfo", absl::StrCat("MemAvailable: ", num_mib << 10, " kB\n"));
  };
  leave(420);
  ArenaOptions options = {.num_bytes = 150 * kMiB, .system_root = system.root()};
  options.on_progress = [&](uint64_t num_bytes) {
    leave(420 - num_bytes / kMiB);
    return true;
  };
  EXPECT_OK(Arena::Create(options, RealClock()));
}

// The signal would come first; the process that shows it is a child.
TEST(ArenaTest, AFileSizeLimitIsAnErrorAndNoSignal) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit = {kMiB, RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &limit);
    const auto arena = Arena::Create({.num_bytes = 2 * kMiB}, RealClock());
    _exit(arena.status().code() == absl::StatusCode::kResourceExhausted ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(ArenaDeathTest, ARangeOutsideIsABug) {
  ASSERT_OK_AND_ASSIGN(const auto arena, Arena::Create({.num_bytes = kMiB}, RealClock()));
  EXPECT_DEATH((void)arena->Bytes(kMiB, 1), "1048576 \\+ 1 of 1048576");
  EXPECT_DEATH((void)arena->Bytes(1, UINT64_MAX), "of 1048576");
}

TEST(MemoryRoomTest, TheTightestOfMachineAndCgroupsCounts) {
  FakeSystem system;
  system.Write("/proc/self/cgroup", "1:name=systemd:/x\n0::/pod/container\n");
  ASSERT_OK_AND_ASSIGN(MemoryRoom room, ReadMemoryRoom(system.root()));
  EXPECT_EQ(room.num_bytes, 1024 * kMiB) << "cgroups without files";

  const std::string pod = "/sys/fs/cgroup/pod", container = pod + "/container";
  system.Write(container + "/memory.max", "max\n");
  system.Write(container + "/memory.current", "1000\n");
  system.Write(pod + "/memory.max", "1000000\n");
  system.Write(pod + "/memory.current", "700000\n");
  system.Write(pod + "/memory.stat", "anon 1\ninactive_file 200000\n");
  ASSERT_OK_AND_ASSIGN(room, ReadMemoryRoom(system.root()));
  EXPECT_EQ(room.num_bytes, 500000u);
  EXPECT_EQ(room.limit, pod);

  system.Write(container + "/memory.max", "900\n");
  ASSERT_OK_AND_ASSIGN(room, ReadMemoryRoom(system.root()));
  EXPECT_EQ(room.num_bytes, 0u) << "over its limit";
  EXPECT_EQ(room.limit, container);
}

TEST(MemoryRoomTest, AContainersOwnLimitStandsAtTheRoot) {
  FakeSystem system;
  system.Write("/proc/self/cgroup", "0::/\n");
  system.Write("/sys/fs/cgroup/memory.max", "5000\n");
  system.Write("/sys/fs/cgroup/memory.current", "1000\n");
  ASSERT_OK_AND_ASSIGN(const MemoryRoom room, ReadMemoryRoom(system.root()));
  EXPECT_EQ(room.num_bytes, 4000u);
}

TEST(MemoryRoomTest, AMachineThatDoesNotTellIsUnavailable) {
  FakeSystem system;
  system.Remove("/proc/meminfo");
  EXPECT_THAT(ReadMemoryRoom(system.root()),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("/proc/meminfo")));
}

}  // namespace
}  // namespace skv::kvstore
