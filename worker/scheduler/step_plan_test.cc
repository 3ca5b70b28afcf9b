#include "worker/scheduler/step_plan.h"

#include <limits>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::scheduler {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int kMaxInt = std::numeric_limits<int>::max();

StepPlan FullPlan() {
  StepPlan plan;
  plan.step_idx = 300;
  plan.released = {7, std::numeric_limits<SequenceId>::max()};
  plan.admitted = {
      {.id = 9,
       .num_prompt_tokens = 300,
       .max_tokens_total = 430,
       .sentence_ends = {5, 150, 300},
       .policy =
           {.name = "sentencekv", .budget_tokens = 512, .semantic_factor = 2.5, .min_recall = 0.9},
       .explain_top = 5,
       .num_slots = 430},
      {.id = 10,
       .num_prompt_tokens = 3,
       .max_tokens_total = 5,
       .sentence_ends = {2},
       .policy = {},
       .prompt_ids = {49151, 0, kMaxInt},
       .prefix_root = {.bytes = {255, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 128}},
       .max_cached_tokens = 2}};
  plan.lookups = {{.id = 11, .may_wait = true}, {.id = 12}};
  plan.forked = {{.child = 5, .parent = 4, .num_shared_tokens = 2, .max_tokens_total = 8}};
  plan.chunks = {{.id = 4,
                  .first_position = 2,
                  .num_tokens = 1,
                  .position_class = PositionClass::kGenerated,
                  .sample = true},
                 {.id = 9, .first_position = 0, .num_tokens = 3}};
  plan.tokens = {49151, 0, kMaxInt, 127};
  return plan;
}

StepPlan RandomPlan(std::mt19937* random) {
  const auto draw = [&](int min, int max) {
    return std::uniform_int_distribution<int>(min, max)(*random);
  };
  StepPlan plan;
  plan.step_idx = draw(0, kMaxInt);
  plan.released.resize(draw(0, 4));
  for (SequenceId& id : plan.released) id = (*random)();
  plan.admitted.resize(draw(0, 4));
  for (Admission& entry : plan.admitted) {
    const bool looks_up = draw(0, 1) == 1;
    const int num_prompt_tokens = looks_up ? draw(2, 300) : draw(1, kMaxInt);
    entry = {(*random)(), num_prompt_tokens, draw(num_prompt_tokens, kMaxInt)};
    for (int end = 0, n = draw(0, 5); n > 0 && end < num_prompt_tokens; --n) {
      entry.sentence_ends.push_back(end = draw(end + 1, num_prompt_tokens));
    }
    entry.policy = {.name = draw(0, 1) == 0 ? "full" : "sentencekv",
                    .budget_tokens = draw(16, 1 << 24),
                    .semantic_factor = draw(0, 1) * draw(1000, 1000000) / 1000.0,
                    .min_recall = draw(0, 1) * draw(1, 1000) / 1000.0};
    entry.explain_top = draw(0, 1) * draw(1, kMaxInt);
    entry.num_slots = draw(0, 1) * draw(1, entry.max_tokens_total);
    if (!looks_up) continue;
    entry.prompt_ids.resize(num_prompt_tokens);
    for (TokenId& token : entry.prompt_ids) token = draw(0, kMaxInt);
    for (uint8_t& byte : entry.prefix_root.bytes) byte = draw(0, 255);
    entry.max_cached_tokens = draw(1, num_prompt_tokens - 1);
  }
  plan.lookups.resize(draw(0, 4));
  for (LookUp& entry : plan.lookups) entry = {(*random)(), draw(0, 1) == 1};
  plan.forked.resize(draw(0, 4));
  for (Fork& entry : plan.forked) {
    const SequenceId parent = (*random)();
    const int num_shared_tokens = draw(1, kMaxInt);
    entry = {parent + 1, parent, num_shared_tokens, draw(num_shared_tokens, kMaxInt)};
  }
  plan.chunks.resize(draw(0, 4));
  for (Chunk& chunk : plan.chunks) {
    chunk = {(*random)(), draw(0, 100000), draw(1, 300), PositionClass(draw(0, 1)),
             draw(0, 1) == 1};
    for (int i = 0; i < chunk.num_tokens; ++i) plan.tokens.push_back(draw(0, kMaxInt));
  }
  plan.shutdown = draw(0, 1) == 1;
  return plan;
}

TEST(StepPlanTest, DecodesWhatItEncoded) {
  EXPECT_EQ(*Decode(Encode(StepPlan())), StepPlan());
  EXPECT_EQ(*Decode(Encode(FullPlan())), FullPlan());
  std::mt19937 random(1);
  for (int i = 0; i < 500; ++i) {
    const StepPlan plan = RandomPlan(&random);
    ASSERT_OK_AND_ASSIGN(const StepPlan decoded, Decode(Encode(plan)));
    EXPECT_EQ(decoded, plan);
  }
}

TEST(StepPlanTest, ADecodeStepOfEightSequencesTakesUnder100Bytes) {
  StepPlan plan;
  plan.step_idx = 100000;
  for (SequenceId id = 1000; id < 1008; ++id) {
    plan.chunks.push_back({id, 4000, 1, PositionClass::kGenerated, true});
    plan.tokens.push_back(30000);
  }
  EXPECT_LT(Encode(plan).size(), 100u);
}

TEST(StepPlanTest, APromptThatIsLookedUpTakesFourBytesAToken) {
  StepPlan plan;
  plan.admitted = {{.id = 1,
                    .num_prompt_tokens = 8192,
                    .max_tokens_total = 8192,
                    .sentence_ends = {},
                    .policy = {},
                    .prompt_ids = std::vector<TokenId>(8192, 49151),
                    .max_cached_tokens = 8191}};
  EXPECT_LT(Encode(plan).size(), 8192 * 4 + 100u);
}

TEST(StepPlanTest, EveryTruncationIsDataLoss) {
  const std::string bytes = Encode(FullPlan());
  for (size_t size = 0; size < bytes.size(); ++size) {
    SCOPED_TRACE(size);
    EXPECT_THAT(Decode(std::string_view(bytes).substr(0, size)),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("step plan: ")));
  }
}

TEST(StepPlanTest, WhatSurvivesABitFlipEncodesToTheSameBytes) {
  const std::string bytes = Encode(FullPlan());
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    SCOPED_TRACE(bit);
    std::string damaged = bytes;
    damaged[bit / 8] ^= 1 << bit % 8;
    const auto plan = Decode(damaged);
    if (plan.ok()) {
      EXPECT_EQ(Encode(*plan), damaged);
    } else {
      EXPECT_EQ(plan.status().code(), absl::StatusCode::kDataLoss);
    }
  }
}

// Encode does not check, so it can write what Decode has to refuse.
TEST(StepPlanTest, RefusesPlansThatNoSchedulerMakes) {
  const auto with = [](auto change) {
    StepPlan plan = FullPlan();
    change(&plan);
    return Encode(plan);
  };
  const size_t num_policies = policy::PolicyNames().size();
  const struct {
    std::string message;
    std::string bytes;
  } kCases[] = {
      {"has 3 tokens, its chunks name 4", with([](StepPlan* p) { p->tokens.pop_back(); })},
      {"num_tokens is 0, expected 1 or more",
       with([](StepPlan* p) { p->chunks[1].num_tokens = 0; })},
      {"num_tokens is 3, expected at most 2",
       with([](StepPlan* p) { p->chunks[1].first_position = kMaxInt - 2; })},
      {"first_position is 4294967295", with([](StepPlan* p) { p->chunks[0].first_position = -1; })},
      {"token is 4294967295", with([](StepPlan* p) { p->tokens[2] = -1; })},
      {"num_prompt_tokens is 0", with([](StepPlan* p) { p->admitted[0].num_prompt_tokens = 0; })},
      {"max_tokens_total is 299, expected 300",
       with([](StepPlan* p) { p->admitted[0].max_tokens_total = 299; })},
      {"sentence's tokens is 151, expected at most 150",
       with([](StepPlan* p) { p->admitted[0].sentence_ends[2] = 301; })},
      {"sentence's tokens is 0, expected 1",
       with([](StepPlan* p) { p->admitted[0].sentence_ends[1] = 5; })},
      {"sentence's tokens is 4294967292",
       with([](StepPlan* p) { p->admitted[0].sentence_ends[1] = 1; })},
      {"sentence's tokens is 1, expected at most 0",
       with([](StepPlan* p) { p->admitted[0].sentence_ends.push_back(301); })},
      {absl::StrCat("policy is ", num_policies, ", expected at most ", num_policies - 1),
       with([](StepPlan* p) { p->admitted[0].policy.name = "nonsense"; })},
      {"max_capacity_prompts: 15, expected 16",
       with([](StepPlan* p) { p->admitted[0].policy.budget_tokens = 15; })},
      {"semantic_factor: 0.5, expected 0",
       with([](StepPlan* p) { p->admitted[0].policy.semantic_factor = 0.5; })},
      {"semantic_factor: nan", with([](StepPlan* p) {
         p->admitted[0].policy.semantic_factor = std::numeric_limits<double>::quiet_NaN();
       })},
      {"min_recall: 1.5, expected 0 (none) to 1",
       with([](StepPlan* p) { p->admitted[0].policy.min_recall = 1.5; })},
      {"explain_top is 4294967295", with([](StepPlan* p) { p->admitted[0].explain_top = -1; })},
      {"num_slots is 431, expected at most 430",
       with([](StepPlan* p) { p->admitted[0].num_slots = 431; })},
      {"length of prompt_ids is 2, expected 0 or 3",
       with([](StepPlan* p) { p->admitted[1].prompt_ids.pop_back(); })},
      {"length of prompt_ids is 4, expected at most 3",
       with([](StepPlan* p) { p->admitted[1].prompt_ids.push_back(7); })},
      {"prompt_ids has -2, expected 0 or more",
       with([](StepPlan* p) { p->admitted[1].prompt_ids[1] = -2; })},
      {"max_cached_tokens is 0, expected 1",
       with([](StepPlan* p) { p->admitted[1].max_cached_tokens = 0; })},
      {"max_cached_tokens is 3, expected at most 2",
       with([](StepPlan* p) { p->admitted[1].max_cached_tokens = 3; })},
      {"forks from itself", with([](StepPlan* p) { p->forked[0].parent = 5; })},
      {"max_tokens_total is 1, expected 2",
       with([](StepPlan* p) { p->forked[0].max_tokens_total = 1; })},
      {"step_idx is 18446744073709551615", with([](StepPlan* p) { p->step_idx = -1; })},
      {"bytes left over", Encode(FullPlan()) + '\0'},
      {"magic SKP5 missing", "SKP1" + Encode(FullPlan()).substr(4)},
      {"magic SKP5 missing", ""},
      {"is over 64 bits", "SKP5" + std::string(9, '\xff') + '\x02'},
      {"needless byte", std::string("SKP5\x80\x00\x00\x00\x00\x00\x00\x00", 12)},
      {"length of released is 4294967295, expected at most 9",
       std::string("SKP5\x00\x00\xff\xff\xff\xff\x0f\x00\x00\x00\x00", 15)},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.message);
    EXPECT_THAT(Decode(c.bytes),
                StatusIs(absl::StatusCode::kDataLoss,
                         AllOf(HasSubstr(c.message), HasSubstr("restart the group"))));
  }
}

}  // namespace
}  // namespace skv::scheduler
