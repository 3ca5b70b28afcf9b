#include "common/page_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace skv {
namespace {

size_t NumResident(const void* data, size_t num_bytes) {
  const size_t page_bytes = sysconf(_SC_PAGESIZE);
  std::vector<unsigned char> pages((num_bytes + page_bytes - 1) / page_bytes);
  // Fails for what is not mapped.
  if (mincore(const_cast<void*>(data), num_bytes, pages.data()) != 0) return SIZE_MAX;
  return std::ranges::count_if(pages, [](unsigned char page) { return page % 2 == 1; });
}

TEST(PageMemoryTest, ZeroPagesAreZerosAndCommittedWhenTouched) {
  constexpr size_t kSize = 1 << 20;
  ZeroPages<uint64_t> numbers(kSize);
  EXPECT_EQ(NumResident(&numbers[0], kSize * sizeof(uint64_t)), 0u);
  EXPECT_EQ(numbers[kSize / 2], 0u);
  numbers[0] = numbers[kSize - 1] = 7;
  EXPECT_EQ(numbers[0] + numbers[kSize - 1], 14u);
  EXPECT_LE(NumResident(&numbers[0], kSize * sizeof(uint64_t)), 3u);
}

// With transparent_hugepage=always one touch would commit 2 MiB.
TEST(PageMemoryTest, PagesAreNotHugeWhateverTheMachineIsSetTo) {
  if (!std::filesystem::exists("/sys/kernel/mm/transparent_hugepage")) {
    GTEST_SKIP() << "this kernel has no huge pages";
  }
  const size_t kSize = 8 << 20;
  ZeroPages<char> pages(kSize);
  std::ostringstream begin;
  begin << std::hex << reinterpret_cast<uintptr_t>(&pages[0]) << '-';
  std::ifstream maps("/proc/self/smaps");
  std::string line, flags;
  while (std::getline(maps, line) && line.rfind(begin.str(), 0) != 0) {
  }
  while (std::getline(maps, line) && flags.empty()) {
    if (line.rfind("VmFlags:", 0) == 0) flags = line + ' ';
  }
  EXPECT_NE(flags.find(" nh "), std::string::npos) << "VmFlags of the mapping: " << flags;
}

TEST(PageMemoryTest, AReservedVectorCommitsWhatItHoldsAndGivesItBack) {
  constexpr size_t kSize = 1 << 20;
  const uint64_t* data = nullptr;
  {
    std::vector<uint64_t, PageAllocator<uint64_t>> numbers;
    numbers.reserve(kSize);
    numbers.push_back(7);
    data = numbers.data();
    EXPECT_EQ(NumResident(data, kSize * sizeof(uint64_t)), 1u);
  }
  EXPECT_EQ(NumResident(data, kSize * sizeof(uint64_t)), SIZE_MAX);
}

TEST(PageMemoryTest, NothingNeedsNoPages) {
  const ZeroPages<uint64_t> none(0);
  EXPECT_EQ(none.size(), 0u);
}

}  // namespace
}  // namespace skv
