#include "router/balancer/recent_work.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::router {
namespace {

using testing::ElementsAre;

constexpr GroupId kGroups[] = {3, 7};

TEST(RecentWorkTest, CountsWhatEachGroupWasGiven) {
  RecentWork work;
  EXPECT_THAT(work.Read(kGroups), ElementsAre(0, 0));
  work.Add(7, 1000, 1000);
  work.Add(7, 500, 1000);
  EXPECT_EQ(work.Read(kGroups)[0], 0);
  EXPECT_NEAR(work.Read(kGroups)[1], 1500, 2);
}

TEST(RecentWorkTest, OfEqualRequestsTwelveForEachGroupCount) {
  RecentWork work;
  for (int i = 0; i < 1000; ++i) work.Add(kGroups[i % 2], 100, 2);
  for (const int64_t tokens : work.Read(kGroups)) EXPECT_NEAR(tokens, 1200, 100);
  // (1 + 1 / 24) ^ 17 is 2.
  for (int i = 0; i < 17; ++i) work.Add(3, 0, 2);
  EXPECT_NEAR(work.Read(kGroups)[1], 600, 60);
}

TEST(RecentWorkTest, WhatWasLongAgoIsForgotten) {
  RecentWork work;
  work.Add(7, 1'000'000'000, 1);
  for (int i = 0; i < 1000; ++i) work.Add(3, 100, 1);
  EXPECT_EQ(work.Read(kGroups)[1], 0);
  EXPECT_NEAR(work.Read(kGroups)[0], 1250, 100);
}

}  // namespace
}  // namespace skv::router
