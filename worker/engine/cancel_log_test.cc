#include "worker/engine/cancel_log.h"

#include <gtest/gtest.h>

#include <vector>

namespace skv::engine {
namespace {

using scheduler::Chunk;
using scheduler::PositionClass;
using scheduler::StepPlan;

constexpr int kPrompt = 10;
constexpr SequenceId kId = 1;

// Steps 0 and 1 compute the prompt, the later ones a token each.
StepPlan PlanOfStep(int64_t step) {
  StepPlan plan{.step_idx = step};
  if (step == 0) plan.admitted = {{.id = kId, .num_prompt_tokens = kPrompt}};
  const bool in_prompt = step < 2;
  plan.chunks = {
      {.id = kId,
       .first_position = in_prompt ? static_cast<int>(step) * 5 : kPrompt + static_cast<int>(step),
       .num_tokens = in_prompt ? 5 : 1,
       .position_class = in_prompt ? PositionClass::kPrompt : PositionClass::kGenerated}};
  return plan;
}

// Runs steps 0 to `last_step`, cancels when `num_ended` have ended, and releases.
CancelStats StatsOf(int64_t last_step, int64_t num_ended) {
  CancelLog log;
  for (int64_t step = 0; step <= last_step; ++step) log.OnStep(PlanOfStep(step));
  log.OnCancel(kId, num_ended);
  log.OnStep({.step_idx = last_step + 1, .released = {kId}});
  return log.stats();
}

CancelPhase OnlyPhase(const CancelStats& stats) {
  int found = -1;
  for (int i = 0; i < kNumCancelPhases; ++i) {
    if (stats.by_phase[i] == 1 && found < 0) found = i;
  }
  return static_cast<CancelPhase>(found);
}

TEST(CancelLogTest, PhaseIsThatOfTheMomentWhenTheCancelArrived) {
  EXPECT_EQ(OnlyPhase(StatsOf(-1, 0)), CancelPhase::kWaiting);
  EXPECT_EQ(OnlyPhase(StatsOf(0, 0)), CancelPhase::kPrefill);    // while step 0 ran
  EXPECT_EQ(OnlyPhase(StatsOf(0, 1)), CancelPhase::kPrefill);    // between the two
  EXPECT_EQ(OnlyPhase(StatsOf(1, 1)), CancelPhase::kPromptEnd);  // while step 1 ran
  EXPECT_EQ(OnlyPhase(StatsOf(1, 2)), CancelPhase::kDecode);
  EXPECT_EQ(OnlyPhase(StatsOf(4, 4)), CancelPhase::kDecode);
}

TEST(CancelLogTest, StepsThatHadNotEndedAreCounted) {
  EXPECT_EQ(StatsOf(4, 5).max_steps_after, 0);
  EXPECT_EQ(StatsOf(4, 4).max_steps_after, 1);
  EXPECT_EQ(StatsOf(4, 2).max_steps_after, 3);
}

TEST(CancelLogTest, StepsThatCarryACancelledSequenceCountUntilItIsReleased) {
  CancelLog log;
  log.OnStep(PlanOfStep(0));
  log.OnCancel(kId, 1);
  log.OnStep(PlanOfStep(1));
  log.OnStep(PlanOfStep(2));
  log.OnStep({.step_idx = 3, .released = {kId}});
  EXPECT_EQ(log.stats().max_steps_after, 2);
}

TEST(CancelLogTest, AForkedSampleHasItsParentsPrompt) {
  CancelLog log;
  log.OnStep(PlanOfStep(0));
  log.OnStep(PlanOfStep(1));
  log.OnStep(
      {.step_idx = 2, .forked = {{.child = 2, .parent = kId, .num_shared_tokens = kPrompt}}});
  log.OnCancel(2, 2);
  EXPECT_EQ(OnlyPhase(log.stats()), CancelPhase::kDecode);
}

TEST(CancelLogTest, AnEvictedSequenceStartsOver) {
  CancelLog log;
  log.OnStep(PlanOfStep(0));
  log.OnStep(PlanOfStep(1));
  log.OnStep({.step_idx = 2, .released = {kId}});
  log.OnCancel(kId, 3);
  EXPECT_EQ(OnlyPhase(log.stats()), CancelPhase::kWaiting);
}

}  // namespace
}  // namespace skv::engine
