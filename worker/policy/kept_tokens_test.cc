#include "worker/policy/kept_tokens.h"

#include <gtest/gtest.h>

#include <iterator>
#include <random>
#include <set>

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

// Against the plain set of the positions that are kept.
TEST(KeptTokensTest, RandomMasksCountAndListWhatAPlainSetHolds) {
  std::mt19937 random(4);
  int64_t num_listed = 0, num_left_out = 0;
  for (int round = 0; round < 200; ++round) {
    const int num_prompt = 1 + static_cast<int>(random() % 120), num_generated = random() % 20;
    const int percent = random() % 101;
    std::set<int> kept;
    for (int p = 0; p < num_prompt; ++p) {
      if (static_cast<int>(random() % 100) < percent) kept.insert(p);
    }
    if (kept.empty()) kept.insert(static_cast<int>(random() % num_prompt));
    const KeptTokens tokens({kept.begin(), kept.end()}, num_prompt);
    num_left_out += num_prompt - kept.size();
    for (int p = num_prompt; p < num_prompt + num_generated; ++p) kept.insert(p);
    for (int p = 0; p <= num_prompt + num_generated; ++p) {
      ASSERT_EQ(tokens.NumBefore(p), std::distance(kept.begin(), kept.lower_bound(p))) << p;
    }
    for (int i = 0; i < 50; ++i) {
      const int first = random() % (kept.size() + 1);
      const int last = first + random() % (kept.size() + 1 - first);
      std::vector<int> listed;
      for (const PositionRange& range : Positions(tokens, first, last)) {
        ASSERT_LT(range.begin, range.end);
        ASSERT_TRUE(listed.empty() || listed.back() + 1 < range.begin) << "ranges that touch";
        for (int p = range.begin; p < range.end; ++p) listed.push_back(p);
      }
      ASSERT_EQ(listed,
                std::vector<int>(std::next(kept.begin(), first), std::next(kept.begin(), last)));
      num_listed += listed.size();
    }
  }
  EXPECT_GT(num_listed, 50000);
  EXPECT_GT(num_left_out, 3000);
}

}  // namespace
}  // namespace skv::policy
