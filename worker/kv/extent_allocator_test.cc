#include "worker/kv/extent_allocator.h"

#include <map>
#include <random>

#include "gtest/gtest.h"

namespace skv::kv {
namespace {

TEST(ExtentAllocatorTest, FreedNeighboursBecomeOneRangeAgain) {
  ExtentAllocator extents(300);
  const size_t a = *extents.Allocate(100);
  const size_t b = *extents.Allocate(100);
  const size_t c = *extents.Allocate(100);
  EXPECT_EQ(extents.Allocate(1), std::nullopt);
  EXPECT_EQ(extents.Free(a, 100), (Extent{a, a + 100}));
  EXPECT_EQ(extents.Free(c, 100), (Extent{c, c + 100}));
  EXPECT_EQ(extents.largest_free(), 100u);
  EXPECT_EQ(extents.Free(b, 100), (Extent{0, 300}));
  EXPECT_EQ(extents.largest_free(), 300u);
  EXPECT_EQ(extents.used(), 0u);
}

TEST(ExtentAllocatorTest, TakesTheSmallestRangeThatFits) {
  ExtentAllocator extents(1000);
  const size_t a = *extents.Allocate(300);
  ASSERT_TRUE(extents.Allocate(10));
  const size_t c = *extents.Allocate(100);
  ASSERT_TRUE(extents.Allocate(590));
  extents.Free(a, 300);
  extents.Free(c, 100);
  EXPECT_EQ(extents.Allocate(90), c);
}

TEST(ExtentAllocatorTest, RandomUseNeverOverlapsAndEndsEmpty) {
  std::mt19937 random(7);
  ExtentAllocator extents(10000);
  std::map<size_t, size_t> live;
  size_t used = 0;
  for (int i = 0; i < 20000; ++i) {
    if (live.empty() || random() % 2 == 0) {
      const size_t length = 1 + random() % 400;
      const auto offset = extents.Allocate(length);
      if (!offset) {
        EXPECT_LT(extents.largest_free(), length);
        continue;
      }
      const auto next = live.lower_bound(*offset);
      if (next != live.end()) {
        ASSERT_LE(*offset + length, next->first);
      }
      if (next != live.begin()) {
        ASSERT_LE(std::prev(next)->first + std::prev(next)->second, *offset);
      }
      live[*offset] = length;
      used += length;
    } else {
      const auto it = std::next(live.begin(), random() % live.size());
      extents.Free(it->first, it->second);
      used -= it->second;
      live.erase(it);
    }
    ASSERT_EQ(extents.used(), used);
  }
  for (const auto& [offset, length] : live) extents.Free(offset, length);
  EXPECT_EQ(extents.largest_free(), 10000u);
}

}  // namespace
}  // namespace skv::kv
