#include "worker/scheduler/capacity.h"

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::scheduler {
namespace {

using testing::IsEmpty;

TEST(CapacityTest, EachSentenceOfAPromptTakesWholeUnits) {
  const struct {
    const char* why;
    int num_prompt_tokens;
    std::vector<int> sentence_ends;
    int unit_tokens;
    int64_t kv_tokens;
  } kCases[] = {
      {"one span", 150, {}, 4, 152},
      {"units of one token", 150, {7, 30}, 1, 150},
      {"each end is rounded up", 20, {5, 10, 20}, 4, 8 + 8 + 12},
      {"what follows the last end counts", 21, {5, 10, 20}, 4, 8 + 8 + 12 + 4},
      {"nothing is added to whole units", 20, {4, 12}, 4, 20},
      {"a long sentence wastes once", 301, {1}, 4, 4 + 300},
      {"no overflow at the limits", 2147483647, {1}, 4, int64_t{4} + 2147483648},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(PromptKvTokens(c.num_prompt_tokens, c.sentence_ends, c.unit_tokens), c.kv_tokens);
  }
}

TEST(CapacityTest, WorstCaseCountsASharedPromptOnce) {
  const struct {
    const char* why;
    int64_t prompt_kv_tokens;
    int max_tokens, num_samples, page_tokens;
    int64_t kv_tokens;
  } kCases[] = {
      {"one sample takes prompt and output", 10, 5, 1, 1, 15},
      {"three samples share the prompt", 10, 5, 3, 1, 25},
      {"a page is taken whole", 12, 56, 1, 16, 12 + 64},
      {"each sample has pages of its own", 20, 5, 3, 16, 20 + 3 * 16},
      {"nothing is added to what ends a page", 32, 16, 2, 16, 32 + 2 * 16},
      {"no overflow at the limits", 2147483646, 1, 256, 1, int64_t{2147483646} + 256},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    const Footprint worst_case =
        WorstCase(c.prompt_kv_tokens, c.max_tokens, c.num_samples, c.page_tokens);
    EXPECT_EQ(worst_case.kv_tokens, c.kv_tokens);
    EXPECT_EQ(worst_case.num_sequences, c.num_samples);
  }
}

TEST(CapacityTest, AWorkingSetFollowsTheBudget) {
  const struct {
    const char* why;
    policy::PolicyParams params;
    double factor;
    int max_positions;
    int num_slots;
  } kCases[] = {
      {"half as much again", {.name = "sentencekv", .budget_tokens = 1024}, 1.5, 33000, 1536},
      {"part of a slot is a slot", {.name = "h2o", .budget_tokens = 17}, 1.5, 33000, 26},
      {"no more than the sequence", {.name = "quest", .budget_tokens = 1024}, 1.5, 1200, 1200},
      {"whatever the budget", {.name = "quest", .budget_tokens = 1 << 24}, 1000, 1200, 1200},
      {"a floor may need everything",
       {.name = "quest", .budget_tokens = 64, .min_recall = 0.9},
       1.5,
       1200,
       1200},
      {"what attends everything has none", {.name = "full", .budget_tokens = 64}, 1.5, 1200, 0},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(WorkingSetSlots(c.params, c.factor, c.max_positions), c.num_slots);
  }
}

TEST(CapacityTest, FitsUpToTheLimitOfEachResource) {
  const Footprint used{.kv_tokens = 60, .num_sequences = 2, .num_slots = 5};
  const Footprint limit{.kv_tokens = 100, .num_sequences = 4, .num_slots = 8};
  EXPECT_TRUE(Fits({.kv_tokens = 40, .num_sequences = 2, .num_slots = 3}, used, limit));
  EXPECT_FALSE(Fits({.kv_tokens = 41, .num_sequences = 2, .num_slots = 3}, used, limit));
  EXPECT_FALSE(Fits({.kv_tokens = 40, .num_sequences = 3, .num_slots = 3}, used, limit));
  EXPECT_FALSE(Fits({.kv_tokens = 40, .num_sequences = 2, .num_slots = 4}, used, limit));
}

TEST(CapacityTest, EvictsFromTheFrontAndNoMoreThanItNeeds) {
  const Footprint limit{.kv_tokens = 100, .num_sequences = 4};
  const Footprint used{.kv_tokens = 90, .num_sequences = 4};
  const Footprint small{.kv_tokens = 10, .num_sequences = 1};
  const Footprint large{.kv_tokens = 60, .num_sequences = 1};
  const struct {
    const char* why;
    Footprint wanted;
    std::vector<Footprint> evictable;
    std::vector<int> evictions;
  } kCases[] = {
      {"the first will do", {15, 1}, {small, large}, {0}},
      {"both have to go", {75, 2}, {small, large}, {0, 1}},
      {"the first turns out not to be needed", {50, 1}, {small, large}, {1}},
      {"a sequence is wanted, not memory", {1, 1}, {small, large}, {0}},
      {"not even all would do", {95, 1}, {small, large}, {}},
      {"there is nobody", {15, 1}, {}, {}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(ChooseEvictions(c.wanted, used, limit, c.evictable), c.evictions);
  }
  EXPECT_THAT(ChooseEvictions({10, 1}, {.kv_tokens = 10, .num_sequences = 1}, limit, {large}),
              IsEmpty());
}

}  // namespace
}  // namespace skv::scheduler
