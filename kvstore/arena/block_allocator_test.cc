#include "kvstore/arena/block_allocator.h"

#include <algorithm>
#include <map>
#include <random>

#include "gtest/gtest.h"

namespace skv::kvstore {
namespace {

constexpr uint64_t kUnit = kBlockUnit;

TEST(BlockAllocatorTest, FreedNeighboursBecomeOneHoleThatNamesWhatIsBesideIt) {
  BlockAllocator allocator(5 * kUnit);
  Placement blocks[5];
  for (uint32_t i = 0; i < 5; ++i) blocks[i] = *allocator.Allocate(kUnit, 10 + i);
  EXPECT_EQ(allocator.Allocate(1, 99), std::nullopt);

  Hole hole = allocator.Free(blocks[1]);
  EXPECT_EQ(hole.num_bytes, kUnit);
  EXPECT_EQ(hole.before->owner, 10u);
  EXPECT_EQ(hole.after->owner, 12u);
  EXPECT_EQ(allocator.Free(blocks[3]).num_bytes, kUnit);
  hole = allocator.Free(blocks[2]);
  EXPECT_EQ(hole.num_bytes, 3 * kUnit);
  EXPECT_EQ(hole.before->owner, 10u);
  EXPECT_EQ(hole.after->owner, 14u);
  EXPECT_EQ(hole.after->num_bytes, kUnit);
  hole = allocator.Free(blocks[0]);
  EXPECT_FALSE(hole.before.has_value());
  hole = allocator.Free(blocks[4]);
  EXPECT_FALSE(hole.after.has_value());
  EXPECT_EQ(hole.num_bytes, 5 * kUnit);
}

TEST(BlockAllocatorTest, TakesTheRangeThatFitsBest) {
  BlockAllocator allocator(1000 * kUnit);
  const Placement large = *allocator.Allocate(300 * kUnit, 0);
  allocator.Allocate(10 * kUnit, 1);
  const Placement small = *allocator.Allocate(100 * kUnit, 2);
  allocator.Allocate(10 * kUnit, 3);
  const Placement close = *allocator.Allocate(101 * kUnit, 4);
  allocator.Allocate(479 * kUnit, 5);
  allocator.Free(large);
  allocator.Free(small);
  allocator.Free(close);
  EXPECT_EQ(allocator.Allocate(100 * kUnit, 6)->offset, small.offset);
  EXPECT_EQ(allocator.Allocate(100 * kUnit, 7)->offset, close.offset);
  EXPECT_EQ(allocator.Allocate(100 * kUnit, 8)->offset, large.offset);
}

TEST(BlockAllocatorTest, SizesAreRoundedUpToUnitsAndNothingIsWithheld) {
  BlockAllocator allocator(10 * kUnit + kUnit - 1);
  EXPECT_EQ(allocator.arena_bytes(), 10 * kUnit);
  EXPECT_EQ(allocator.Allocate(10 * kUnit + 1, 0), std::nullopt);
  EXPECT_EQ(allocator.Allocate(UINT64_MAX, 0), std::nullopt);
  for (uint32_t i = 0; i < 10; ++i) EXPECT_EQ(allocator.Allocate(1, i)->offset, i * kUnit);
  EXPECT_EQ(allocator.live_bytes(), 10 * kUnit);
  EXPECT_EQ(BlockAllocator(kUnit - 1).Allocate(1, 0), std::nullopt);
}

TEST(BlockAllocatorTest, OnlyRangesBelowTheSmallestBlockSoFarAreCommitted) {
  BlockAllocator allocator(100 * kUnit);
  EXPECT_EQ(allocator.committed_bytes(), 0u);
  const Placement first = *allocator.Allocate(40 * kUnit, 0);
  allocator.Allocate(40 * kUnit, 1);
  EXPECT_EQ(allocator.committed_bytes(), 100 * kUnit) << "20 units are left, 40 were the least";
  allocator.Free(first);
  EXPECT_EQ(allocator.committed_bytes(), 60 * kUnit);
  allocator.Allocate(20 * kUnit, 2);
  allocator.Allocate(20 * kUnit, 3);
  allocator.Allocate(15 * kUnit, 4);
  EXPECT_EQ(allocator.committed_bytes(), 100 * kUnit) << "5 are left";
  allocator.Allocate(5 * kUnit, 5);
  EXPECT_EQ(allocator.committed_bytes(), allocator.live_bytes());
}

TEST(BlockAllocatorDeathTest, FreeingTwiceIsABug) {
  BlockAllocator allocator(4 * kUnit);
  const Placement block = *allocator.Allocate(kUnit, 0);
  allocator.Free(block);
  EXPECT_DEATH(allocator.Free(block), "no block lies at 0");
}

// The truth, one entry for each unit of the arena: the owner, or none.
class UnitMap {
 public:
  explicit UnitMap(size_t num_units) : owners_(num_units, -1) {}

  void Place(uint64_t offset, uint64_t num_bytes, int64_t owner) {
    for (uint64_t unit = offset / kUnit; unit < (offset + num_bytes) / kUnit; ++unit) {
      ASSERT_LT(unit, owners_.size());
      ASSERT_EQ(owners_[unit], -1) << "at unit " << unit;
      owners_[unit] = owner;
    }
  }
  void Clear(uint64_t offset, uint64_t num_bytes) {
    std::fill_n(owners_.begin() + offset / kUnit, num_bytes / kUnit, -1);
  }
  void ExpectHole(uint64_t offset, const Hole& hole) const {
    size_t begin = offset / kUnit, end = begin;
    while (begin > 0 && owners_[begin - 1] < 0) --begin;
    while (end < owners_.size() && owners_[end] < 0) ++end;
    ASSERT_EQ(hole.num_bytes, (end - begin) * kUnit);
    ASSERT_EQ(hole.before ? int64_t{hole.before->owner} : -1, begin == 0 ? -1 : owners_[begin - 1]);
    ASSERT_EQ(hole.after ? int64_t{hole.after->owner} : -1,
              end == owners_.size() ? -1 : owners_[end]);
  }
  uint64_t LargestFree() const {
    uint64_t largest = 0;
    ForEachFree([&](uint64_t num_bytes) { largest = std::max(largest, num_bytes); });
    return largest;
  }
  uint64_t FreeBelow(uint64_t limit) const {
    uint64_t sum = 0;
    ForEachFree([&](uint64_t num_bytes) { sum += num_bytes < limit ? num_bytes : 0; });
    return sum;
  }

 private:
  template <typename F>
  void ForEachFree(F f) const {
    uint64_t run = 0;
    for (const int64_t owner : owners_) {
      if (owner >= 0 && run > 0) f(run);
      run = owner >= 0 ? 0 : run + kUnit;
    }
    if (run > 0) f(run);
  }

  std::vector<int64_t> owners_;
};

struct Live {
  Placement placement;
  uint64_t num_bytes;
};

TEST(BlockAllocatorTest, RandomUseAgreesWithAMapOfAllUnits) {
  constexpr size_t kUnits = 2000;
  for (const int max_units : {4, 60, 700}) {
    SCOPED_TRACE(max_units);
    std::mt19937 random(max_units);
    BlockAllocator allocator(kUnits * kUnit);
    UnitMap map(kUnits);
    std::map<uint32_t, Live> live;
    uint64_t live_bytes = 0, smallest = UINT64_MAX;
    for (uint32_t i = 0; i < 20000; ++i) {
      if (live.empty() || random() % 100 < 55) {
        const uint64_t num_bytes = (1 + random() % max_units) * kUnit;
        const auto placement = allocator.Allocate(num_bytes, i);
        ASSERT_EQ(placement.has_value(), map.LargestFree() >= num_bytes);
        if (!placement) continue;
        ASSERT_NO_FATAL_FAILURE(map.Place(placement->offset, num_bytes, i));
        live[i] = {*placement, num_bytes};
        live_bytes += num_bytes;
        smallest = std::min(smallest, num_bytes);
      } else {
        const auto victim = std::next(live.begin(), random() % live.size());
        const auto [placement, num_bytes] = victim->second;
        live.erase(victim);
        map.Clear(placement.offset, num_bytes);
        ASSERT_NO_FATAL_FAILURE(map.ExpectHole(placement.offset, allocator.Free(placement)));
        live_bytes -= num_bytes;
      }
      ASSERT_EQ(allocator.num_blocks(), live.size());
      ASSERT_EQ(allocator.live_bytes(), live_bytes);
      ASSERT_EQ(allocator.committed_bytes(), live_bytes + map.FreeBelow(smallest));
    }
    for (const auto& [owner, block] : live) allocator.Free(block.placement);
    EXPECT_EQ(allocator.Allocate(kUnits * kUnit, 0)->offset, 0u);
  }
}

}  // namespace
}  // namespace skv::kvstore
