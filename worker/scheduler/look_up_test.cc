// How the scheduler treats requests that look up what of their prompt was computed before.

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>
#include <vector>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/scheduler/scheduler.h"

namespace skv::scheduler {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr SchedulerOptions kSmall{.capacity_tokens = 100,
                                  .max_num_seqs = 4,
                                  .max_num_batched_tokens = 16,
                                  .max_chunk_tokens = 16,
                                  .max_queue = 8};
constexpr PrefixKey kRoot{.bytes = {1, 2, 3}};

// 20 prompt tokens, 700, 701, ... for sequence 7; 12 of them may be cached.
Request LookingUp(SequenceId id, int max_tokens = 5) {
  Request request{.sample_ids = {id},
                  .prompt_ids = std::vector<TokenId>(20),
                  .sentence_ends = {5, 12},
                  .prefix_root = kRoot,
                  .max_cached_tokens = 12,
                  .max_tokens = max_tokens};
  std::iota(request.prompt_ids.begin(), request.prompt_ids.end(), static_cast<TokenId>(100 * id));
  return request;
}

Request NotLookingUp(SequenceId id, int max_tokens = 5) {
  Request request = LookingUp(id, max_tokens);
  request.prefix_root.reset();
  request.max_cached_tokens = 0;
  return request;
}

Chunk PromptChunk(SequenceId id, int first, int num_tokens, bool sample) {
  return {id, first, num_tokens, PositionClass::kPrompt, sample};
}

Chunk GeneratedChunk(SequenceId id, int first, int num_tokens, bool sample) {
  return {id, first, num_tokens, PositionClass::kGenerated, sample};
}

// Those of the admitted that look up.
std::vector<SequenceId> LookingUpIds(const PlannedStep& step) {
  std::vector<SequenceId> ids;
  for (const Admission& admission : step.plan.admitted) {
    if (!admission.prompt_ids.empty()) ids.push_back(admission.id);
  }
  return ids;
}

PlannedStep RunStep(Scheduler* scheduler, TokenId token = 1) {
  PlannedStep step = scheduler->Plan();
  for (const Draw& draw : step.draws) scheduler->OnToken(draw.id, token, /*finished=*/false);
  return step;
}

// Plans the step that admits `request` and has the answer hold it.
void AddHeld(Scheduler* scheduler, const Request& request) {
  ASSERT_OK(scheduler->Add(request));
  const SequenceId id = request.sample_ids[0];
  ASSERT_THAT(LookingUpIds(RunStep(scheduler)), ElementsAre(id));
  scheduler->OnLookUp(id, {.in_progress = true});
  ASSERT_TRUE(scheduler->is_holding());
}

TEST(LookUpTest, ThePrefillBeginsBehindWhatWasFound) {
  Scheduler scheduler(kSmall);
  const Request request = LookingUp(7);
  ASSERT_OK(scheduler.Add(request));
  PlannedStep step = scheduler.Plan();
  EXPECT_FALSE(step.empty());
  EXPECT_THAT(step.plan.admitted, ElementsAre(Admission{.id = 7,
                                                        .num_prompt_tokens = 20,
                                                        .max_tokens_total = 25,
                                                        .sentence_ends = {5, 12},
                                                        .policy = {},
                                                        .prompt_ids = request.prompt_ids,
                                                        .prefix_root = kRoot,
                                                        .max_cached_tokens = 12}));
  EXPECT_THAT(step.plan.lookups, IsEmpty()) << "the admission is the look-up";
  EXPECT_THAT(step.plan.chunks, IsEmpty());
  EXPECT_FALSE(scheduler.is_holding());

  scheduler.OnLookUp(7, {.num_cached_tokens = 5});
  step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.admitted, IsEmpty());
  EXPECT_THAT(step.plan.chunks, ElementsAre(PromptChunk(7, 5, 15, true)));
  EXPECT_EQ(step.plan.tokens,
            std::vector<TokenId>(request.prompt_ids.begin() + 5, request.prompt_ids.end()));
  EXPECT_THAT(step.draws, ElementsAre(Draw{7, 0, 20}));
  EXPECT_THAT(RunStep(&scheduler).plan.chunks, ElementsAre(GeneratedChunk(7, 20, 1, true)));
}

TEST(LookUpTest, WhereNothingWasFoundThePrefillBeginsAtTheStart) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(LookingUp(7)));
  RunStep(&scheduler);
  scheduler.OnLookUp(7, {.num_cached_tokens = 0});
  EXPECT_THAT(RunStep(&scheduler).plan.chunks, ElementsAre(PromptChunk(7, 0, 16, false)));
}

TEST(LookUpTest, ARootAloneLooksNothingUp) {
  Scheduler scheduler(kSmall);
  Request request = LookingUp(7);
  request.max_cached_tokens = 0;
  ASSERT_OK(scheduler.Add(request));
  const PlannedStep step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.admitted, ElementsAre(Admission{7, 20, 25, {5, 12}}));
  EXPECT_THAT(step.plan.chunks, ElementsAre(PromptChunk(7, 0, 16, false)));
}

TEST(LookUpTest, ASequenceWithoutAnswerIsLeftOutUntilItComes) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(LookingUp(1)));
  ASSERT_OK(scheduler.Add(NotLookingUp(2)));
  EXPECT_THAT(RunStep(&scheduler).plan.chunks, ElementsAre(PromptChunk(2, 0, 16, false)));
  EXPECT_THAT(RunStep(&scheduler).plan.chunks, ElementsAre(PromptChunk(2, 16, 4, true)));
  EXPECT_TRUE(scheduler.HasWork());
  scheduler.OnLookUp(1, {.num_cached_tokens = 12});
  EXPECT_THAT(RunStep(&scheduler).plan.chunks,
              ElementsAre(GeneratedChunk(2, 20, 1, true), PromptChunk(1, 12, 8, true)));
}

TEST(LookUpTest, AHeldSequenceLooksUpAgainWhenItIsTold) {
  Scheduler scheduler(kSmall);
  AddHeld(&scheduler, LookingUp(7));
  EXPECT_EQ(scheduler.stats().num_held, 1);
  EXPECT_FALSE(scheduler.HasWork());
  EXPECT_TRUE(scheduler.Plan().empty());

  scheduler.LookUpAgain(7, /*may_wait=*/true);
  EXPECT_TRUE(scheduler.HasWork());
  EXPECT_FALSE(scheduler.is_holding());
  PlannedStep step = RunStep(&scheduler);
  EXPECT_FALSE(step.empty());
  EXPECT_THAT(step.plan.lookups, ElementsAre(LookUp{7, true}));
  EXPECT_THAT(step.plan.admitted, IsEmpty());
  EXPECT_THAT(step.plan.chunks, IsEmpty());
  scheduler.OnLookUp(7, {.in_progress = true});
  EXPECT_FALSE(scheduler.HasWork());

  scheduler.LookUpAgain(7, /*may_wait=*/false);
  EXPECT_THAT(RunStep(&scheduler).plan.lookups, ElementsAre(LookUp{7, false}));
  scheduler.OnLookUp(7, {.num_cached_tokens = 12});
  EXPECT_EQ(scheduler.stats().num_held, 0);
  step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.lookups, IsEmpty());
  EXPECT_THAT(step.plan.chunks, ElementsAre(PromptChunk(7, 12, 8, true)));
}

TEST(LookUpTest, CallsBeforeOnePlanCountAsOneThatMayWaitIfAllMay) {
  Scheduler scheduler(kSmall);
  AddHeld(&scheduler, LookingUp(1));
  AddHeld(&scheduler, LookingUp(2));
  AddHeld(&scheduler, LookingUp(3));
  for (const bool may_wait : {true, false}) scheduler.LookUpAgain(1, may_wait);
  for (const bool may_wait : {false, true}) scheduler.LookUpAgain(2, may_wait);
  for (const bool may_wait : {true, true}) scheduler.LookUpAgain(3, may_wait);
  EXPECT_THAT(RunStep(&scheduler).plan.lookups,
              ElementsAre(LookUp{1, false}, LookUp{2, false}, LookUp{3, true}));
}

TEST(LookUpTest, OnlyHeldSequencesLookUpAgain) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(LookingUp(1)));
  ASSERT_OK(scheduler.Add(NotLookingUp(2)));
  scheduler.LookUpAgain(1, /*may_wait=*/true);  // waits for admission
  RunStep(&scheduler);
  for (const SequenceId id : {1, 2, 99}) scheduler.LookUpAgain(id, /*may_wait=*/true);
  EXPECT_THAT(RunStep(&scheduler).plan.lookups, IsEmpty());
  scheduler.OnLookUp(1, {.num_cached_tokens = 12});
  scheduler.LookUpAgain(1, /*may_wait=*/true);
  EXPECT_THAT(RunStep(&scheduler).plan.lookups, IsEmpty());
}

TEST(LookUpTest, AnswersThatNobodyWaitsForAreIgnored) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(NotLookingUp(1)));
  scheduler.OnLookUp(1, {.in_progress = true});
  RunStep(&scheduler);
  for (const SequenceId id : {1, 99}) scheduler.OnLookUp(id, {.in_progress = true});
  EXPECT_FALSE(scheduler.is_holding());
  EXPECT_THAT(RunStep(&scheduler).plan.chunks, ElementsAre(PromptChunk(1, 16, 4, true)));
}

TEST(LookUpTest, OthersRunBesideAHeldSequence) {
  Scheduler scheduler(kSmall);
  AddHeld(&scheduler, LookingUp(1));
  ASSERT_OK(scheduler.Add(NotLookingUp(2)));
  EXPECT_TRUE(scheduler.HasWork());
  EXPECT_THAT(RunStep(&scheduler).plan.chunks, ElementsAre(PromptChunk(2, 0, 16, false)));
  EXPECT_TRUE(scheduler.HasWork());
  EXPECT_TRUE(scheduler.is_holding());
}

TEST(LookUpTest, WhoWaitsBehindAHeldSequenceIsNoWork) {
  Scheduler scheduler(kSmall);
  AddHeld(&scheduler, LookingUp(1, /*max_tokens=*/40));
  ASSERT_OK(scheduler.Add(NotLookingUp(2, /*max_tokens=*/40)));
  EXPECT_FALSE(scheduler.HasWork());
  EXPECT_TRUE(scheduler.Plan().empty());

  Request urgent = NotLookingUp(3, /*max_tokens=*/40);
  urgent.priority = 1;
  ASSERT_OK(scheduler.Add(urgent));
  EXPECT_TRUE(scheduler.HasWork()) << "it may evict";
  const PlannedStep step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.released, ElementsAre(1));
  EXPECT_THAT(step.plan.admitted, ElementsAre(Admission{3, 20, 60, {5, 12}}));
  EXPECT_FALSE(scheduler.is_holding());
}

TEST(LookUpTest, AnEvictedSequenceLooksUpAnew) {
  Scheduler scheduler(kSmall);
  AddHeld(&scheduler, LookingUp(1));
  scheduler.LookUpAgain(1, /*may_wait=*/false);
  ASSERT_TRUE(scheduler.Preempt(1));
  PlannedStep step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.released, ElementsAre(1));
  EXPECT_THAT(LookingUpIds(step), ElementsAre(1));
  EXPECT_THAT(step.plan.lookups, IsEmpty());
  EXPECT_THAT(step.plan.chunks, IsEmpty());

  ASSERT_TRUE(scheduler.Preempt(1));
  scheduler.OnLookUp(1, {.num_cached_tokens = 12});  // comes too late
  step = RunStep(&scheduler);
  EXPECT_THAT(LookingUpIds(step), ElementsAre(1));
  EXPECT_THAT(step.plan.chunks, IsEmpty());
  EXPECT_EQ(scheduler.stats().running_tokens, 25) << "what came too late counts for nothing";
  scheduler.OnLookUp(1, {.num_cached_tokens = 5});
  EXPECT_THAT(RunStep(&scheduler).plan.chunks, ElementsAre(PromptChunk(1, 5, 15, true)));
}

TEST(LookUpTest, AnEvictionAfterTheLookUpForgetsWhatWasFound) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(LookingUp(1)));
  RunStep(&scheduler);
  scheduler.OnLookUp(1, {.num_cached_tokens = 12});
  RunStep(&scheduler, 50);
  RunStep(&scheduler, 51);
  ASSERT_TRUE(scheduler.Preempt(1));
  EXPECT_THAT(LookingUpIds(RunStep(&scheduler)), ElementsAre(1));
  scheduler.OnLookUp(1, {.num_cached_tokens = 5});
  const PlannedStep step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.chunks,
              ElementsAre(PromptChunk(1, 5, 15, false), GeneratedChunk(1, 20, 1, false)));
}

TEST(LookUpTest, CancelsAndDeadlinesEndHeldSequences) {
  Scheduler scheduler(kSmall);
  const TimePoint start;
  Request late = LookingUp(2);
  late.deadline = start + std::chrono::seconds(1);
  AddHeld(&scheduler, LookingUp(1));
  AddHeld(&scheduler, late);
  scheduler.Cancel(1);
  EXPECT_TRUE(scheduler.HasWork()) << "1 is to be released";
  EXPECT_THAT(scheduler.Expire(start + std::chrono::seconds(1)), ElementsAre(2));
  for (const SequenceId id : {1, 2}) scheduler.LookUpAgain(id, /*may_wait=*/true);
  const PlannedStep step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.released, ElementsAre(1, 2));
  EXPECT_THAT(step.plan.lookups, IsEmpty());
  EXPECT_FALSE(scheduler.HasWork());
  EXPECT_FALSE(scheduler.is_holding());
}

TEST(LookUpTest, TheFirstSampleLooksUpForAll) {
  Scheduler scheduler(kSmall);
  Request request = LookingUp(1);
  request.sample_ids = {1, 2};
  AddHeld(&scheduler, request);
  scheduler.LookUpAgain(2, /*may_wait=*/true);
  EXPECT_FALSE(scheduler.HasWork()) << "2 does not look up";
  scheduler.LookUpAgain(1, /*may_wait=*/true);
  RunStep(&scheduler);
  scheduler.OnLookUp(2, {.num_cached_tokens = 5});
  EXPECT_TRUE(RunStep(&scheduler).empty());
  scheduler.OnLookUp(1, {.num_cached_tokens = 12});
  EXPECT_THAT(RunStep(&scheduler).draws, ElementsAre(Draw{1, 0, 20}, Draw{2, 0, 20}));
  EXPECT_THAT(RunStep(&scheduler).plan.forked, ElementsAre(Fork{2, 1, 20, 25}));
}

TEST(LookUpTest, AFirstSampleCancelledWhileHeldLeavesTheOthersToLookUp) {
  Scheduler scheduler(kSmall);
  Request request = LookingUp(1);
  request.sample_ids = {1, 2};
  AddHeld(&scheduler, request);
  scheduler.Cancel(1);
  const PlannedStep step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.released, ElementsAre(1));
  EXPECT_THAT(LookingUpIds(step), ElementsAre(2));
  scheduler.OnLookUp(2, {.num_cached_tokens = 12});
  EXPECT_THAT(RunStep(&scheduler).plan.chunks, ElementsAre(PromptChunk(2, 12, 8, true)));
}

TEST(LookUpTest, ResumedTokensAreReplayedBehindThePrompt) {
  Scheduler scheduler(kSmall);
  Request request = LookingUp(1);
  request.resume_ids = {60, 61, 62};
  ASSERT_OK(scheduler.Add(request));
  RunStep(&scheduler);
  scheduler.OnLookUp(1, {.num_cached_tokens = 12});
  const PlannedStep step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.chunks,
              ElementsAre(PromptChunk(1, 12, 8, false), GeneratedChunk(1, 20, 3, true)));
  EXPECT_THAT(step.draws, ElementsAre(Draw{1, 1, 23}));
}

TEST(LookUpTest, CachedTokensAreNoBacklog) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(LookingUp(1, /*max_tokens=*/30)));
  EXPECT_EQ(scheduler.stats().queued_tokens, 50);
  RunStep(&scheduler);
  EXPECT_EQ(scheduler.stats().running_tokens, 50);
  scheduler.OnLookUp(1, {.num_cached_tokens = 12});
  EXPECT_EQ(scheduler.stats().running_tokens, 8 + 30);
}

TEST(LookUpTest, OnlyWhatThePoolHoldsOfAPromptStaysReserved) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(LookingUp(1, /*max_tokens=*/30)));
  RunStep(&scheduler);
  EXPECT_EQ(scheduler.stats().kv_tokens_reserved, 50);
  scheduler.OnLookUp(1, {.in_progress = true});
  EXPECT_EQ(scheduler.stats().kv_tokens_reserved, 50);
  scheduler.LookUpAgain(1, /*may_wait=*/true);
  RunStep(&scheduler);
  scheduler.OnLookUp(1, {.num_cached_tokens = 12, .private_kv_tokens = 3});
  EXPECT_EQ(scheduler.stats().kv_tokens_reserved, 3 + 30);
  ASSERT_TRUE(scheduler.Preempt(1));
  EXPECT_EQ(scheduler.stats().kv_tokens_reserved, 0);
  RunStep(&scheduler);
  EXPECT_EQ(scheduler.stats().kv_tokens_reserved, 50);
}

TEST(LookUpTest, RefusesMoreCachedTokensThanThereCanBe) {
  Scheduler scheduler(kSmall);
  const std::pair<int, const char*> kCases[] = {
      {-1, "max_cached_tokens is -1, expected 0 to 19"},
      {20, "max_cached_tokens is 20, expected 0 to 19"},
  };
  Request request = LookingUp(1);
  for (const auto& [max_cached_tokens, message] : kCases) {
    request.max_cached_tokens = max_cached_tokens;
    EXPECT_THAT(scheduler.Add(request),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  }
  request.max_cached_tokens = 19;
  request.prefix_root.reset();
  EXPECT_THAT(scheduler.Add(request),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("max_cached_tokens is 19 without a prefix_root, expected 0")));
  request.prefix_root = kRoot;
  EXPECT_OK(scheduler.Add(request));
}

}  // namespace
}  // namespace skv::scheduler
