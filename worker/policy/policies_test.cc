// What the policies that have a reference in common: each selects as its definition says. What an
// evicting policy drops never comes back.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"
#include "worker/policy/testing/reference_eviction.h"
#include "worker/policy/testing/reference_selection.h"

namespace skv::policy {
namespace {

struct Definition {
  std::string name;
  HeadSelections (*reference)(const PolicyParams&, const TestSequence&, int layer, int kv_head);
};

std::vector<Definition> Evicting() {
  std::vector<Definition> definitions;
  for (const char* name : {"streaming", "snapkv", "pyramidkv", "h2o", "chunk"}) {
    definitions.push_back({name, ReferenceEviction});
  }
  return definitions;
}

std::vector<Definition> Selecting() {
  std::vector<Definition> definitions;
  for (const char* name :
       {"quest", "infllm", "oracle_topk", "oracle_sentence", "oracle_sentence_per_token"}) {
    definitions.push_back({name, ReferenceSelection});
  }
  return definitions;
}

void PrintTo(const Definition& definition, std::ostream* out) { *out << definition.name; }

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

class PoliciesTest : public testing::TestWithParam<std::tuple<Definition, Case>> {
 public:
  static std::string Name(const testing::TestParamInfo<ParamType>& info) {
    return std::get<0>(info.param).name + "_" + std::to_string(info.index);
  }

 protected:
  const Case& c() const { return std::get<1>(GetParam()); }
  PolicyParams params() const { return {std::get<0>(GetParam()).name, c().budget, 0}; }
  TestSequence Sequence(uint32_t seed) const {
    return MakeRandomSequence({.shape = {3, 2, c().group_size, 32, c().num_prompt_tokens},
                               .num_tokens = c().num_tokens,
                               .all_equal = c().all_equal},
                              seed);
  }
  Selections Reference(const TestSequence& sequence) const {
    Selections selections;
    for (int layer = 0; layer < sequence.shape.num_layers; ++layer) {
      for (int head = 0; head < sequence.shape.num_kv_heads; ++head) {
        selections.push_back(std::get<0>(GetParam()).reference(params(), sequence, layer, head));
      }
    }
    return selections;
  }
};

class EvictingPoliciesTest : public PoliciesTest {};

TEST_P(PoliciesTest, SelectsAsItsDefinitionHoweverTheStepsAreCut) {
  const TestSequence sequence = Sequence(1);
  const Selections expected = Reference(sequence);
  CheckWellFormed(sequence, expected);
  for (const int max_step : {1, 7, 64, 4096}) {
    EXPECT_EQ(RunPolicy(sequence, params(), max_step, 5), expected)
        << "steps of up to " << max_step;
  }
}

TEST_P(PoliciesTest, AForkGoesOnFromThePromptWhateverItsParentGenerated) {
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
  const Selections expected = Reference(sequence);
  EXPECT_EQ(parent.selections(), expected);
  EXPECT_EQ(twin.selections(), expected);
  EXPECT_EQ(fork.selections(), Reference(other));
}

TEST_P(EvictingPoliciesTest, WhatIsEvictedNeverComesBack) {
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

TEST_P(PoliciesTest, ABudgetForEverythingAttendsEverything) {
  PolicyParams generous = params();
  generous.budget_tokens = std::max(kMinBudgetTokens, c().num_tokens);
  for (const HeadSelections& rows : RunPolicy(Sequence(4), generous, 16, 1)) {
    for (size_t i = 0; i < rows.size(); ++i) {
      const int num_visible = c().num_prompt_tokens + static_cast<int>(i) + 1;
      EXPECT_EQ(rows[i], (std::vector<PositionRange>{{0, num_visible}}));
    }
  }
}

TEST_P(PoliciesTest, HeadsMayRunOnThreadsOfTheirOwn) {
  const TestSequence sequence = Sequence(5);
  const int prompt = c().num_prompt_tokens;
  PolicyDriver driver(sequence, params());
  for (const int end : {prompt - prompt / 2, prompt, prompt + 1, c().num_tokens}) {
    driver.StepOnThreads(end);
  }
  EXPECT_EQ(driver.selections(), Reference(sequence));
}

const auto kEvictingCases = testing::Combine(
    testing::ValuesIn(Evicting()),
    testing::Values(Case{16, 1, 100, 200}, Case{16, 3, 26, 80}, Case{33, 3, 200, 260},
                    Case{64, 3, 300, 400}, Case{64, 8, 300, 340}, Case{64, 3, 95, 140},
                    Case{64, 3, 64, 120}, Case{64, 3, 65, 120}, Case{64, 3, 40, 200},
                    Case{64, 3, 5, 100}, Case{64, 3, 1, 100}, Case{256, 1, 500, 520},
                    Case{512, 3, 200, 260}, Case{64, 3, 300, 400, true}));
const auto kSelectingCases = testing::Combine(
    testing::ValuesIn(Selecting()),
    testing::Values(Case{16, 1, 100, 200}, Case{64, 1, 300, 400}, Case{64, 3, 300, 400},
                    Case{64, 8, 300, 340}, Case{64, 3, 304, 340}, Case{64, 3, 1, 120},
                    Case{100, 3, 90, 240}, Case{256, 3, 500, 540}, Case{64, 3, 300, 400, true}));

INSTANTIATE_TEST_SUITE_P(Evicting, PoliciesTest, kEvictingCases, PoliciesTest::Name);
INSTANTIATE_TEST_SUITE_P(Evicting, EvictingPoliciesTest, kEvictingCases, PoliciesTest::Name);
INSTANTIATE_TEST_SUITE_P(Selecting, PoliciesTest, kSelectingCases, PoliciesTest::Name);

}  // namespace
}  // namespace skv::policy
