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

// Of sequence 1: looked up when due, `num_cached_tokens` found. False: it was not due, or its
// patience has ended.
bool WaitsOn(PrefixWaits* waits, int num_cached_tokens, TimePoint now) {
  if (waits->TakeDue({}, now) != std::vector({LookUp{1, true}})) return false;
  waits->OnHeld(1, num_cached_tokens, now);
  return true;
}

TEST(PrefixWaitsTest, PatienceEndsAfterLookUpsThatFindNothingNew) {
  PrefixWaits waits;
  TimePoint now = kStart;
  waits.OnHeld(1, 10, now);
  for (int i = 0; i < kPrefixPatience; ++i) {
    ASSERT_TRUE(WaitsOn(&waits, 10 - i % 2, now += kPrefixLookInterval)) << i;
  }
  EXPECT_EQ(waits.TakeDue({}, now += kPrefixLookInterval), std::vector({LookUp{1, false}}));
}

TEST(PrefixWaitsTest, PatienceLastsWhileBlocksCome) {
  PrefixWaits waits;
  TimePoint now = kStart;
  waits.OnHeld(1, 0, now);
  for (int i = 1; i < 100; ++i) {
    ASSERT_TRUE(WaitsOn(&waits, i / (kPrefixPatience - 1), now += kPrefixLookInterval)) << i;
  }
}

TEST(PrefixWaitsTest, StepsMayTakeLong) {
  PrefixWaits waits;
  TimePoint now = kStart;
  waits.OnHeld(1, 0, now);
  for (int i = 1; i < 10; ++i) {
    ASSERT_TRUE(WaitsOn(&waits, i * 512, now += std::chrono::minutes(1))) << i;
  }
}

}  // namespace
}  // namespace skv::engine
