#include "common/page_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
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
