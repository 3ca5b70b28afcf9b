#include "worker/scheduler/scheduler.h"

#include <chrono>
#include <numeric>
#include <utility>
#include <vector>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::scheduler {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr SchedulerOptions kSmall{.capacity_tokens = 100,
                                  .max_num_seqs = 4,
                                  .max_num_batched_tokens = 16,
                                  .max_chunk_tokens = 16,
                                  .max_queue = 8};

// Prompt tokens of sequence 7 are 700, 701, ...
std::vector<TokenId> PromptOf(SequenceId id, int num_tokens) {
  std::vector<TokenId> prompt(num_tokens);
  std::iota(prompt.begin(), prompt.end(), static_cast<TokenId>(100 * id));
  return prompt;
}

Request MakeRequest(SequenceId id, int num_prompt_tokens, int max_tokens, int priority = 0) {
  return {.sample_ids = {id},
          .prompt_ids = PromptOf(id, num_prompt_tokens),
          .max_tokens = max_tokens,
          .priority = priority};
}

Chunk PromptChunk(SequenceId id, int first, int num_tokens, bool sample) {
  return {id, first, num_tokens, PositionClass::kPrompt, sample};
}

Chunk GeneratedChunk(SequenceId id, int first, int num_tokens, bool sample) {
  return {id, first, num_tokens, PositionClass::kGenerated, sample};
}

// Plans a step and answers each draw with `token`.
PlannedStep RunStep(Scheduler* scheduler, TokenId token = 1) {
  PlannedStep step = scheduler->Plan();
  for (const Draw& draw : step.draws) scheduler->OnToken(draw.id, token, /*finished=*/false);
  return step;
}

std::vector<SequenceId> AdmittedIds(const PlannedStep& step) {
  std::vector<SequenceId> ids;
  for (const Admission& admission : step.plan.admitted) ids.push_back(admission.id);
  return ids;
}

TEST(SchedulerTest, PrefillsInChunksThenDecodesUntilMaxTokens) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(MakeRequest(7, 20, 3)));

  PlannedStep step = RunStep(&scheduler);
  EXPECT_EQ(step.plan.step_idx, 0);
  EXPECT_THAT(step.plan.admitted, ElementsAre(Admission{7, 20, 23}));
  EXPECT_THAT(step.plan.chunks, ElementsAre(PromptChunk(7, 0, 16, false)));
  EXPECT_EQ(step.plan.tokens, PromptOf(7, 16));
  EXPECT_THAT(step.draws, IsEmpty());

  step = RunStep(&scheduler, 50);
  EXPECT_EQ(step.plan.step_idx, 1);
  EXPECT_THAT(step.plan.chunks, ElementsAre(PromptChunk(7, 16, 4, true)));
  EXPECT_THAT(step.draws, ElementsAre(Draw{7, 0, 20}));

  step = RunStep(&scheduler, 51);
  EXPECT_THAT(step.plan.chunks, ElementsAre(GeneratedChunk(7, 20, 1, true)));
  EXPECT_THAT(step.plan.tokens, ElementsAre(50));

  step = scheduler.Plan();
  EXPECT_THAT(step.plan.tokens, ElementsAre(51));
  EXPECT_TRUE(scheduler.OnToken(7, 52, /*finished=*/false)) << "max_tokens is reached";
  EXPECT_TRUE(scheduler.HasWork());

  step = scheduler.Plan();
  EXPECT_THAT(step.plan.released, ElementsAre(7));
  EXPECT_THAT(step.plan.chunks, IsEmpty());
  EXPECT_FALSE(scheduler.HasWork());
  EXPECT_TRUE(scheduler.Plan().empty());
}

TEST(SchedulerTest, TheAdmissionCarriesSentencesAndPolicyAlsoWhenARequestStartsOver) {
  Scheduler scheduler(kSmall);
  Request request = MakeRequest(7, 20, 3);
  request.sentence_ends = {5, 12};
  request.policy = {.name = "sentencekv", .budget_tokens = 64, .semantic_factor = 2};
  ASSERT_OK(scheduler.Add(request));
  const Admission expected{7, 20, 23, request.sentence_ends, request.policy};
  EXPECT_THAT(RunStep(&scheduler).plan.admitted, ElementsAre(expected));
  ASSERT_TRUE(scheduler.Preempt(7));
  EXPECT_THAT(RunStep(&scheduler).plan.admitted, ElementsAre(expected));
}

TEST(SchedulerTest, EachSentenceIsReservedInWholeUnits) {
  SchedulerOptions options = kSmall;
  options.unit_tokens = 4;
  options.page_tokens = 16;
  Scheduler scheduler(options);
  Request request = MakeRequest(7, 20, 17);
  request.sample_ids = {7, 8};
  request.sentence_ends = {5, 12};
  ASSERT_OK(scheduler.Add(request));
  RunStep(&scheduler);
  EXPECT_EQ(scheduler.stats().kv_tokens_reserved, (8 + 8 + 8) + 2 * 32);
  scheduler.Cancel(8);
  EXPECT_EQ(scheduler.stats().kv_tokens_reserved, (8 + 8 + 8) + 32);
}

TEST(SchedulerTest, DecodesRideInFrontOfOthersPrefills) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(MakeRequest(1, 4, 8)));
  RunStep(&scheduler, 5);
  ASSERT_OK(scheduler.Add(MakeRequest(2, 30, 8, /*priority=*/1)));
  ASSERT_OK(scheduler.Add(MakeRequest(3, 6, 8)));
  EXPECT_THAT(RunStep(&scheduler, 5).plan.chunks,
              ElementsAre(GeneratedChunk(1, 4, 1, true), PromptChunk(2, 0, 15, false)));
  EXPECT_THAT(RunStep(&scheduler, 5).plan.chunks,
              ElementsAre(GeneratedChunk(1, 5, 1, true), PromptChunk(2, 15, 15, true)));
  const PlannedStep step = RunStep(&scheduler, 5);
  EXPECT_THAT(step.plan.chunks,
              ElementsAre(GeneratedChunk(2, 30, 1, true), GeneratedChunk(1, 6, 1, true),
                          PromptChunk(3, 0, 6, true)));
  EXPECT_THAT(step.draws, ElementsAre(Draw{2, 0, 31}, Draw{1, 1, 7}, Draw{3, 2, 6}));
}

TEST(SchedulerTest, ReplaysResumedTokensAsGenerated) {
  Scheduler scheduler(kSmall);
  Request request = MakeRequest(1, 12, 20);
  request.resume_ids = {60, 61, 62, 63, 64, 65};
  ASSERT_OK(scheduler.Add(request));
  PlannedStep step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.chunks,
              ElementsAre(PromptChunk(1, 0, 12, false), GeneratedChunk(1, 12, 4, false)));
  EXPECT_THAT(step.draws, IsEmpty());
  step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.chunks, ElementsAre(GeneratedChunk(1, 16, 2, true)));
  EXPECT_THAT(step.plan.tokens, ElementsAre(64, 65));
  EXPECT_THAT(step.draws, ElementsAre(Draw{1, 0, 18}));
}

TEST(SchedulerTest, MaxTokensCountsResumedTokens) {
  Scheduler scheduler(kSmall);
  Request request = MakeRequest(1, 3, 3);
  request.resume_ids = {60, 61};
  ASSERT_OK(scheduler.Add(request));
  ASSERT_THAT(scheduler.Plan().draws, ElementsAre(Draw{1, 1, 5}));
  EXPECT_TRUE(scheduler.OnToken(1, 62, /*finished=*/false));
}

TEST(SchedulerTest, SamplesShareThePromptAndItsLogits) {
  Scheduler scheduler(kSmall);
  Request request = MakeRequest(1, 10, 5);
  request.sample_ids = {1, 2, 3};
  ASSERT_OK(scheduler.Add(request));
  EXPECT_EQ(scheduler.stats().kv_tokens_reserved, 0);

  PlannedStep step = scheduler.Plan();
  EXPECT_EQ(scheduler.stats().kv_tokens_reserved, 10 + 3 * 5);
  EXPECT_EQ(scheduler.stats().num_running_sequences, 3);
  EXPECT_THAT(AdmittedIds(step), ElementsAre(1));
  EXPECT_THAT(step.plan.chunks, ElementsAre(PromptChunk(1, 0, 10, true)));
  EXPECT_THAT(step.draws, ElementsAre(Draw{1, 0, 10}, Draw{2, 0, 10}, Draw{3, 0, 10}));
  for (const Draw& draw : step.draws) scheduler.OnToken(draw.id, 40 + draw.id, false);

  step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.forked, ElementsAre(Fork{2, 1, 10, 15}, Fork{3, 1, 10, 15}));
  EXPECT_THAT(step.plan.chunks,
              ElementsAre(GeneratedChunk(1, 10, 1, true), GeneratedChunk(2, 10, 1, true),
                          GeneratedChunk(3, 10, 1, true)));
  EXPECT_THAT(step.plan.tokens, ElementsAre(41, 42, 43));
  EXPECT_THAT(RunStep(&scheduler).plan.forked, IsEmpty());
}

TEST(SchedulerTest, AFirstSampleThatEndsEarlyStaysUntilTheOthersForked) {
  Scheduler scheduler(kSmall);
  Request request = MakeRequest(1, 10, 5);
  request.sample_ids = {1, 2};
  ASSERT_OK(scheduler.Add(request));
  scheduler.Plan();
  EXPECT_TRUE(scheduler.OnToken(1, 0, /*finished=*/true));
  EXPECT_FALSE(scheduler.OnToken(2, 9, /*finished=*/false));
  PlannedStep step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.released, IsEmpty());
  EXPECT_THAT(step.plan.forked, ElementsAre(Fork{2, 1, 10, 15}));
  EXPECT_THAT(step.plan.chunks, ElementsAre(GeneratedChunk(2, 10, 1, true)));
  step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.released, ElementsAre(1));
  EXPECT_EQ(scheduler.stats().kv_tokens_reserved, 15);
}

TEST(SchedulerTest, AFirstSampleCancelledDuringItsPrefillLeavesTheOthersToStartOver) {
  Scheduler scheduler(kSmall);
  Request request = MakeRequest(1, 20, 5);
  request.sample_ids = {1, 2};
  ASSERT_OK(scheduler.Add(request));
  RunStep(&scheduler);
  scheduler.Cancel(1);
  const PlannedStep step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.released, ElementsAre(1));
  EXPECT_THAT(step.plan.admitted, ElementsAre(Admission{2, 20, 25}));
  EXPECT_THAT(step.plan.chunks, ElementsAre(PromptChunk(2, 0, 16, false)));
  EXPECT_EQ(scheduler.stats().num_preemptions, 0);
}

TEST(SchedulerTest, HigherPriorityEvictsAndTheEvictedStartsOverInItsOldPlace) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(MakeRequest(1, 4, 36)));
  ASSERT_OK(scheduler.Add(MakeRequest(2, 4, 46)));
  RunStep(&scheduler, 5);
  RunStep(&scheduler, 6);
  ASSERT_OK(scheduler.Add(MakeRequest(3, 4, 40)));
  ASSERT_OK(scheduler.Add(MakeRequest(4, 4, 2, /*priority=*/1)));
  // 4 needs 6 tokens and finds 10 free; 5 needs 30 more and evicts the later of two equals.
  ASSERT_OK(scheduler.Add(MakeRequest(5, 4, 26, /*priority=*/1)));
  PlannedStep step = RunStep(&scheduler);
  EXPECT_THAT(AdmittedIds(step), ElementsAre(4, 5));
  EXPECT_THAT(step.plan.released, ElementsAre(2));
  EXPECT_EQ(scheduler.stats().num_preempted, 1);
  EXPECT_EQ(scheduler.stats().num_preemptions, 1);
  EXPECT_EQ(scheduler.stats().num_waiting, 2);

  scheduler.Cancel(4);
  scheduler.Cancel(5);
  step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.released, UnorderedElementsAre(4, 5));
  EXPECT_THAT(AdmittedIds(step), ElementsAre(2)) << "before 3, which came later";
  EXPECT_THAT(step.plan.chunks,
              ElementsAre(GeneratedChunk(1, 6, 1, true), PromptChunk(2, 0, 4, false),
                          GeneratedChunk(2, 4, 2, true)));
  EXPECT_THAT(step.plan.tokens, ElementsAre(1, 200, 201, 202, 203, 5, 6));
}

TEST(SchedulerTest, EqualPriorityNeverEvicts) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(MakeRequest(1, 10, 80, /*priority=*/3)));
  RunStep(&scheduler);
  ASSERT_OK(scheduler.Add(MakeRequest(2, 10, 80, /*priority=*/3)));
  for (int i = 0; i < 5; ++i) EXPECT_THAT(RunStep(&scheduler).plan.admitted, IsEmpty());
  EXPECT_EQ(scheduler.stats().num_preemptions, 0);
}

TEST(SchedulerTest, EvictsNobodyWhenThatWouldNotDo) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(MakeRequest(1, 10, 50, /*priority=*/2)));
  ASSERT_OK(scheduler.Add(MakeRequest(2, 10, 20)));
  RunStep(&scheduler);
  ASSERT_OK(scheduler.Add(MakeRequest(3, 10, 60, /*priority=*/1)));
  const PlannedStep step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.released, IsEmpty());
  EXPECT_THAT(step.plan.admitted, IsEmpty());
}

TEST(SchedulerTest, SmallRequestsDoNotOvertakeALargeOneThatWaits) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(MakeRequest(1, 10, 40)));
  ASSERT_OK(scheduler.Add(MakeRequest(2, 10, 70)));
  ASSERT_OK(scheduler.Add(MakeRequest(3, 2, 2)));
  EXPECT_THAT(AdmittedIds(RunStep(&scheduler)), ElementsAre(1));
  scheduler.Cancel(1);
  EXPECT_THAT(AdmittedIds(RunStep(&scheduler)), ElementsAre(2, 3));
}

TEST(SchedulerTest, ForcedPreemptionRebuildsWithTheSameTokens) {
  Scheduler scheduler(kSmall);
  Request request = MakeRequest(1, 6, 9);
  request.sample_ids = {1, 2};
  ASSERT_OK(scheduler.Add(request));
  RunStep(&scheduler, 5);
  RunStep(&scheduler, 6);
  EXPECT_FALSE(scheduler.Preempt(3));
  EXPECT_TRUE(scheduler.Preempt(2));
  EXPECT_FALSE(scheduler.Preempt(1)) << "it waits now";
  EXPECT_EQ(scheduler.stats().kv_tokens_reserved, 0);

  PlannedStep step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.released, ElementsAre(1, 2));
  EXPECT_THAT(AdmittedIds(step), ElementsAre(1));
  EXPECT_THAT(step.plan.chunks,
              ElementsAre(PromptChunk(1, 0, 6, false), GeneratedChunk(1, 6, 2, true)));
  EXPECT_THAT(step.draws, ElementsAre(Draw{1, 1, 8}));
  step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.forked, ElementsAre(Fork{2, 1, 6, 15}));
  EXPECT_THAT(step.plan.chunks,
              ElementsAre(GeneratedChunk(1, 8, 1, true), GeneratedChunk(2, 6, 2, true)));
  EXPECT_THAT(step.plan.tokens, ElementsAre(1, 5, 6));
}

TEST(SchedulerTest, CancelTakesEffectInTheNextPlan) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(MakeRequest(1, 20, 5)));
  ASSERT_OK(scheduler.Add(MakeRequest(2, 80, 15)));
  RunStep(&scheduler);
  EXPECT_EQ(scheduler.stats().num_waiting, 1);
  scheduler.Cancel(2);
  EXPECT_EQ(scheduler.stats().num_waiting, 0);
  scheduler.Cancel(1);
  scheduler.Cancel(1);
  scheduler.Cancel(99);
  EXPECT_FALSE(scheduler.OnToken(1, 5, /*finished=*/true)) << "its token is dropped";
  const PlannedStep step = RunStep(&scheduler);
  EXPECT_THAT(step.plan.released, ElementsAre(1)) << "2 never had memory";
  EXPECT_THAT(step.plan.chunks, IsEmpty());
  EXPECT_FALSE(scheduler.HasWork());
  EXPECT_EQ(scheduler.stats().kv_tokens_reserved, 0);
}

TEST(SchedulerTest, ExpiresRunningAndWaitingRequestsAtTheirDeadline) {
  Scheduler scheduler(kSmall);
  const TimePoint start;
  Request running = MakeRequest(1, 10, 60);
  running.sample_ids = {1, 2};
  running.max_tokens = 40;
  running.deadline = start + std::chrono::seconds(2);
  Request waiting = MakeRequest(3, 10, 60);
  waiting.deadline = start + std::chrono::seconds(1);
  ASSERT_OK(scheduler.Add(running));
  ASSERT_OK(scheduler.Add(waiting));
  ASSERT_OK(scheduler.Add(MakeRequest(4, 10, 60)));
  RunStep(&scheduler);
  EXPECT_THAT(scheduler.Expire(start), IsEmpty());
  EXPECT_THAT(scheduler.Expire(start + std::chrono::seconds(1)), ElementsAre(3));
  EXPECT_THAT(scheduler.Expire(start + std::chrono::seconds(2)), ElementsAre(1, 2));
  EXPECT_THAT(AdmittedIds(RunStep(&scheduler)), ElementsAre(4));
}

TEST(SchedulerTest, RefusesRequestsThatItCanNeverRun) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(MakeRequest(1, 10, 10)));
  const auto with = [](auto change) {
    Request request = MakeRequest(2, 10, 10);
    change(&request);
    return request;
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  const struct {
    const char* message;
    absl::StatusCode code;
    Request request;
  } kCases[] = {
      {"prompt is empty", kInvalid, with([](Request* r) { r->prompt_ids.clear(); })},
      {"max_tokens is 0", kInvalid, with([](Request* r) { r->max_tokens = 0; })},
      {"max_tokens is -2147483648", kInvalid, with([](Request* r) { r->max_tokens = 1 << 31; })},
      {"over 2^31 - 1", kInvalid, with([](Request* r) { r->max_tokens = 2147483647; })},
      {"no sample", kInvalid, with([](Request* r) { r->sample_ids.clear(); })},
      {"sequence id 1 is in use", kInvalid, with([](Request* r) { r->sample_ids = {1}; })},
      {"sequence id 5 is in use", kInvalid, with([](Request* r) {
         r->sample_ids = {5, 5};
       })},
      {"n is 16384, expected at most 4 (--max-num-seqs)", kInvalid,
       with([](Request* r) { r->sample_ids.resize(16384); })},
      {"resume_ids has 10 tokens, expected fewer than max_tokens, 10", kInvalid,
       with([](Request* r) { r->resume_ids.resize(10); })},
      {"resume_ids with 2 samples", kInvalid, with([](Request* r) {
         r->resume_ids = {3};
         r->sample_ids = {5, 6};
       })},
      {"sentence_ends has 11 after 3, expected 4 to 10", kInvalid, with([](Request* r) {
         r->sentence_ends = {3, 11};
       })},
      {"sentence_ends has 3 after 3", kInvalid, with([](Request* r) {
         r->sentence_ends = {3, 3};
       })},
      {"sentence_ends has 0 after 0", kInvalid, with([](Request* r) { r->sentence_ends = {0}; })},
      {"kv_policy.name: \"other\" is unknown", kInvalid,
       with([](Request* r) { r->policy.name = "other"; })},
      {"KV memory for 101 tokens (prompt 10, max_tokens 91, n 1), this worker has 100; ask for "
       "less "
       "or raise --kv-cache-memory-bytes",
       absl::StatusCode::kResourceExhausted, with([](Request* r) { r->max_tokens = 91; })},
      {"n 4), this worker has 100", absl::StatusCode::kResourceExhausted, with([](Request* r) {
         r->max_tokens = 23;
         r->sample_ids = {5, 6, 7, 8};
       })},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.message);
    EXPECT_THAT(scheduler.Add(c.request), StatusIs(c.code, HasSubstr(c.message)));
  }
  EXPECT_EQ(scheduler.stats().num_waiting, 1) << "a refused request leaves nothing behind";
  EXPECT_OK(scheduler.Add(MakeRequest(2, 10, 90))) << "exactly the capacity";
}

TEST(SchedulerTest, AWorkingSetForEachSampleIsPartOfTheCost) {
  SchedulerOptions options = kSmall;
  options.working_set_factor = 1.5;
  options.capacity_slots = 60;
  Scheduler scheduler(options);
  const auto request = [](SequenceId id, int budget_tokens) {
    Request request = MakeRequest(id, 10, 20);
    request.policy = {.name = "sentencekv", .budget_tokens = budget_tokens};
    return request;
  };
  Request two_samples = request(1, 20);
  two_samples.sample_ids = {1, 2};
  ASSERT_OK(scheduler.Add(two_samples));
  ASSERT_OK(scheduler.Add(request(3, 16)));
  PlannedStep step = RunStep(&scheduler);
  ASSERT_EQ(step.plan.admitted.size(), 1u) << "KV memory is left, slots are not";
  EXPECT_EQ(step.plan.admitted[0].num_slots, 30);
  EXPECT_EQ(scheduler.stats().slots_reserved, 60);
  scheduler.Cancel(2);
  step = RunStep(&scheduler);
  ASSERT_EQ(step.plan.admitted.size(), 1u);
  EXPECT_EQ(step.plan.admitted[0].id, 3u);
  EXPECT_EQ(scheduler.stats().slots_reserved, 30 + 24);

  Request too_large = request(4, 16);
  too_large.sample_ids = {4, 5, 6};
  EXPECT_THAT(scheduler.Add(too_large),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("working sets of 72 slots (24 for max_capacity_prompts 16, n 3), "
                                 "this worker has 60; ask for less or raise "
                                 "--working-set-memory-bytes")));
}

TEST(SchedulerTest, RefusesWhenTheQueueIsFull) {
  Scheduler scheduler(kSmall);
  for (SequenceId id = 0; id < 8; ++id) ASSERT_OK(scheduler.Add(MakeRequest(id, 10, 60)));
  EXPECT_THAT(scheduler.Add(MakeRequest(8, 1, 1)),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("8 requests wait, at most 8 may (--max-queue)"))));
  RunStep(&scheduler);
  EXPECT_OK(scheduler.Add(MakeRequest(8, 1, 1)));
}

TEST(SchedulerTest, StatsAreDerivedFromTheState) {
  Scheduler scheduler(kSmall);
  ASSERT_OK(scheduler.Add(MakeRequest(1, 20, 30)));
  ASSERT_OK(scheduler.Add(MakeRequest(2, 20, 40)));
  RunStep(&scheduler);
  const SchedulerStats stats = scheduler.stats();
  EXPECT_EQ(stats.num_running, 1);
  EXPECT_EQ(stats.num_running_sequences, 1);
  EXPECT_EQ(stats.num_waiting, 1);
  EXPECT_EQ(stats.running_tokens, 50 - 16);
  EXPECT_EQ(stats.queued_tokens, 60);
  EXPECT_EQ(stats.kv_tokens_reserved, 50);
  EXPECT_EQ(stats.kv_tokens_capacity, 100);
}

}  // namespace
}  // namespace skv::scheduler
