#include "worker/policy/position_ranges.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace skv::policy {
namespace {

using Ranges = std::vector<PositionRange>;

TEST(PositionRangesTest, RangesThatTouchAreJoinedAndEmptyOnesLeftOut) {
  Ranges ranges;
  for (const PositionRange& range : Ranges{{2, 4}, {4, 4}, {4, 6}, {8, 9}}) {
    AppendRange(range, &ranges);
  }
  EXPECT_EQ(ranges, (Ranges{{2, 6}, {8, 9}}));
}

TEST(PositionRangesTest, PositionsOutsideAreCountedOnce) {
  constexpr int kPositions = 40;
  std::mt19937 random(1);
  const auto random_range = [&](int first) {
    const int begin = first + static_cast<int>(random() % 6);
    return PositionRange{begin, begin + 1 + static_cast<int>(random() % 6)};
  };
  for (int round = 0; round < 1000; ++round) {
    Ranges ranges, excluded;
    for (int first = 0; first < kPositions - 12; first += random() % 8) {
      ranges.push_back(random_range(first));
      first = ranges.back().begin;
    }
    for (int first = 0; first < kPositions - 12;) {
      excluded.push_back(random_range(first));
      first = excluded.back().end + 1;
    }
    std::vector<char> outside(kPositions, 0);
    for (const PositionRange& r : ranges)
      std::fill_n(outside.begin() + r.begin, r.end - r.begin, 1);
    for (const PositionRange& r : excluded) {
      std::fill_n(outside.begin() + r.begin, r.end - r.begin, 0);
    }
    EXPECT_EQ(NumOutside(ranges, excluded), std::count(outside.begin(), outside.end(), 1));
  }
}

}  // namespace
}  // namespace skv::policy
