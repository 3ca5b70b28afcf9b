// What the policies that evict have in common: each selects as its definition says.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"
#include "worker/policy/testing/reference_eviction.h"

namespace skv::policy {
namespace {

Selections Reference(const TestSequence& sequence, const PolicyParams& params) {
  Selections selections;
  for (int layer = 0; layer < sequence.shape.num_layers; ++layer) {
    for (int head = 0; head < sequence.shape.num_kv_heads; ++head) {
      selections.push_back(ReferenceEviction(params, sequence, layer, head));
    }
  }
  return selections;
}

std::vector<int> Positions(const std::vector<PositionRange>& ranges) {
  std::vector<int> positions;
  for (const PositionRange& range : ranges) {
    for (int t = range.begin; t < range.end; ++t) positions.push_back(t);
  }
  return positions;
}

struct Case {
  int budget;
  int group_size;
  int num_prompt_tokens;
  int num_tokens;
  bool all_equal = false;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << "budget " << c.budget << ", group " << c.group_size << ", prompt " << c.num_prompt_tokens
       << " of " << c.num_tokens << (c.all_equal ? ", all equal" : "");
}

class EvictPoliciesTest : public testing::TestWithParam<std::tuple<std::string, Case>> {
 protected:
  const Case& c() const { return std::get<1>(GetParam()); }
  PolicyParams params() const { return {std::get<0>(GetParam()), c().budget, 0}; }
  TestSequence Sequence(uint32_t seed) const {
    return MakeRandomSequence({.shape = {3, 2, c().group_size, 32, c().num_prompt_tokens},
                               .num_tokens = c().num_tokens,
                               .all_equal = c().all_equal},
                              seed);
  }
};

TEST_P(EvictPoliciesTest, SelectsAsItsDefinitionHoweverTheStepsAreCut) {
  const TestSequence sequence = Sequence(1);
  const Selections expected = Reference(sequence, params());
  CheckWellFormed(sequence, expected);
  for (const int max_step : {1, 7, 64, 4096}) {
    EXPECT_EQ(RunPolicy(sequence, params(), max_step, 5), expected)
        << "steps of up to " << max_step;
  }
}

TEST_P(EvictPoliciesTest, AForkGoesOnFromThePromptWhateverItsParentGenerated) {
  const TestSequence sequence = Sequence(2);
  const int num_tokens = sequence.num_tokens, prompt = sequence.shape.num_prompt_tokens;
  const TestSequence other = MakeRandomContinuation(sequence, num_tokens, 3);
  std::mt19937 random(4);
  PolicyDriver parent(sequence, params());
  parent.RunTo((prompt + num_tokens) / 2, 16, random);
  PolicyDriver fork(other, parent), twin(sequence, parent);
  fork.RunTo(num_tokens, 16, random);
  parent.RunTo(num_tokens, 16, random);
  twin.RunTo(num_tokens, 16, random);
  const Selections expected = Reference(sequence, params());
  EXPECT_EQ(parent.selections(), expected);
  EXPECT_EQ(twin.selections(), expected);
  EXPECT_EQ(fork.selections(), Reference(other, params()));
}

TEST_P(EvictPoliciesTest, WhatIsEvictedNeverComesBack) {
  for (const HeadSelections& rows : RunPolicy(Sequence(3), params(), 16, 1)) {
    std::vector<int> before = Positions(rows.front());
    for (const std::vector<PositionRange>& row : rows) {
      std::vector<int> now = Positions(row);
      const int newest = now.back();
      if (newest != before.back()) {
        now.pop_back();
        EXPECT_TRUE(std::ranges::includes(before, now)) << "at " << newest;
        now.push_back(newest);
      }
      before = now;
    }
  }
}

TEST_P(EvictPoliciesTest, ABudgetForEverythingAttendsEverything) {
  PolicyParams generous = params();
  generous.budget_tokens = std::max(16, c().num_tokens);
  for (const HeadSelections& rows : RunPolicy(Sequence(4), generous, 16, 1)) {
    for (size_t i = 0; i < rows.size(); ++i) {
      const int num_visible = c().num_prompt_tokens + static_cast<int>(i) + 1;
      EXPECT_EQ(rows[i], (std::vector<PositionRange>{{0, num_visible}}));
    }
  }
}

TEST_P(EvictPoliciesTest, HeadsMayRunOnThreadsOfTheirOwn) {
  const TestSequence sequence = Sequence(5);
  const int prompt = c().num_prompt_tokens;
  PolicyDriver driver(sequence, params());
  for (const int end : {prompt - prompt / 2, prompt, prompt + 1, c().num_tokens}) {
    driver.StepOnThreads(end);
  }
  EXPECT_EQ(driver.selections(), Reference(sequence, params()));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, EvictPoliciesTest,
    testing::Combine(testing::Values("streaming", "snapkv", "pyramidkv", "h2o", "chunk"),
                     testing::Values(Case{16, 1, 100, 200}, Case{16, 3, 26, 80},
                                     Case{33, 3, 200, 260}, Case{64, 3, 300, 400},
                                     Case{64, 8, 300, 340}, Case{64, 3, 95, 140},
                                     Case{64, 3, 64, 120}, Case{64, 3, 65, 120},
                                     Case{64, 3, 40, 200}, Case{64, 3, 5, 100}, Case{64, 3, 1, 100},
                                     Case{256, 1, 500, 520}, Case{512, 3, 200, 260},
                                     Case{64, 3, 300, 400, true})),
    [](const auto& info) { return std::get<0>(info.param) + "_" + std::to_string(info.index); });

}  // namespace
}  // namespace skv::policy
