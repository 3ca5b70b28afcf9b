#include "eval/fidelity/setting.h"

#include "common/testing/status_matchers.h"

namespace skv::eval {
namespace {

TEST(SettingTest, PoliciesAreReadWithTheirParameters) {
  ASSERT_OK_AND_ASSIGN(const auto settings,
                       ParsePolicies("sentencekv:budget=256,factor=2.5;full;sentencekv"));
  ASSERT_EQ(settings.size(), 3u);
  EXPECT_EQ(settings[0].params.budget_tokens, 256);
  EXPECT_EQ(settings[0].params.semantic_factor, 2.5);
  EXPECT_EQ(settings[1].params.name, "full");
  EXPECT_EQ(settings[2].params, (policy::PolicyParams{.name = "sentencekv"}));
}

TEST(SettingTest, EveryPolicyCanBeMeasured) {
  for (const std::string_view name : policy::PolicyNames()) {
    ASSERT_OK_AND_ASSIGN(const auto settings, ParsePolicies(name));
    EXPECT_EQ(settings[0].params.name, name);
  }
}

TEST(SettingTest, WhatIsWrongIsNamed) {
  for (const char* text :
       {"sentencekv:budget", "sentencekv:tokens=5", "other:budget=64", "", "sentencekv:budget=1",
        "sentencekv:factor=0.5", "full:budget=64", "full:factor=2"}) {
    EXPECT_THAT(ParsePolicies(text),
                StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("--policies")))
        << text;
  }
}

TEST(SettingTest, EveryBudgetHasItsReferencesOnce) {
  ASSERT_OK_AND_ASSIGN(
      const auto policies,
      ParsePolicies(
          "sentencekv:budget=64;sentencekv:budget=64,factor=2;sentencekv:budget=128;full"));
  std::vector<std::string> names;
  for (const Setting& setting : WithReferences(policies)) names.push_back(setting.name());
  EXPECT_EQ(names.size(), policies.size() + 2 * 4);
  ASSERT_OK_AND_ASSIGN(const auto references,
                       ParsePolicies("oracle_topk:budget=64;random:budget=128"));
  for (const Setting& reference : references) {
    EXPECT_THAT(names, testing::Contains(reference.name() + "/shadow").Times(1));
  }
}

}  // namespace
}  // namespace skv::eval
