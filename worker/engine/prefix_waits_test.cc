#include "worker/engine/prefix_waits.h"

#include <gtest/gtest.h>

namespace skv::engine {
namespace {

using scheduler::LookUp;

constexpr TimePoint kStart = TimePoint(std::chrono::hours(1));
constexpr Duration kMoment = std::chrono::milliseconds(1);

TEST(PrefixWaitsTest, WhatTheStoreTellsIsLookedUpAtOnceAndTheRestNowAndThen) {
  PrefixWaits waits;
  waits.OnHeld(7, 10, kStart);
  waits.OnHeld(3, 10, kStart);
  EXPECT_EQ(waits.TakeDue({}, kStart + kMoment), std::vector<LookUp>());
  EXPECT_EQ(waits.TakeDue({7, 99}, kStart + kMoment), std::vector({LookUp{7, true}}));
  EXPECT_EQ(waits.TakeDue({}, kStart + kPrefixLookInterval), std::vector({LookUp{3, true}}));
  EXPECT_EQ(waits.TakeDue({}, kStart + kPrefixLookInterval), std::vector<LookUp>());
  waits.Forget(7);
  waits.Forget(3);
  EXPECT_EQ(waits.TakeDue({7, 3}, kStart + 2 * kPrefixLookInterval), std::vector<LookUp>());
}

TEST(PrefixWaitsTest, PatienceEndsWithoutNewBlocksAndLastsWhileTheyCome) {
  PrefixWaits waits;
  waits.OnHeld(1, 10, kStart);
  const TimePoint late = kStart + kPrefixPatience - kMoment;
  EXPECT_EQ(waits.TakeDue({1}, late), std::vector({LookUp{1, true}}));
  waits.OnHeld(1, 11, late);
  EXPECT_EQ(waits.TakeDue({1}, kStart + kPrefixPatience), std::vector({LookUp{1, true}}));
  waits.OnHeld(1, 11, kStart + kPrefixPatience);
  EXPECT_EQ(waits.TakeDue({1}, late + kPrefixPatience), std::vector({LookUp{1, false}}));
}

TEST(PrefixWaitsTest, LessThanBeforeIsNoProgress) {
  PrefixWaits waits;
  waits.OnHeld(1, 10, kStart);
  waits.OnHeld(1, 0, kStart + kPrefixLookInterval);
  EXPECT_EQ(waits.TakeDue({1}, kStart + kPrefixPatience), std::vector({LookUp{1, false}}));
}

}  // namespace
}  // namespace skv::engine
