#include "worker/policy/kept_tokens.h"

#include <gtest/gtest.h>

namespace skv::policy {
namespace {

using Ranges = std::vector<PositionRange>;

Ranges Positions(const KeptTokens& kept, int first, int last) {
  Ranges ranges;
  kept.AppendPositions(first, last, &ranges);
  return ranges;
}

TEST(KeptTokensTest, NumbersArePositionsWhenAllAreKept) {
  const KeptTokens kept;
  EXPECT_EQ(kept.NumBefore(0), 0);
  EXPECT_EQ(kept.NumBefore(7), 7);
  EXPECT_EQ(Positions(kept, 3, 9), (Ranges{{3, 9}}));
  EXPECT_EQ(Positions(kept, 3, 3), Ranges{});
  EXPECT_EQ(kept.size_bytes(), 0u);
}

TEST(KeptTokensTest, WhatThePromptLeavesOutIsNotCounted) {
  const KeptTokens kept({1, 2, 5, 9}, 10);
  EXPECT_EQ(kept.NumBefore(1), 0);
  EXPECT_EQ(kept.NumBefore(2), 1);
  EXPECT_EQ(kept.NumBefore(4), 2);
  EXPECT_EQ(kept.NumBefore(10), 4);
  EXPECT_EQ(kept.NumBefore(13), 7);
  EXPECT_EQ(Positions(kept, 0, 3), (Ranges{{1, 3}, {5, 6}}));
  EXPECT_EQ(Positions(kept, 2, 6), (Ranges{{5, 6}, {9, 12}}));
  EXPECT_EQ(Positions(kept, 5, 7), (Ranges{{11, 13}}));
}

}  // namespace
}  // namespace skv::policy
