#include "eval/fidelity/setting.h"

#include "common/testing/status_matchers.h"
#include "worker/policy/sentencekv_colm2025_policy.h"

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

TEST(SettingTest, OptionsOfSentenceKvAreReadAndNamed) {
  const char* const text =
      "sentencekv:digest=mean,boundary=full,reduction=score,found=1,expected=0,least=0,"
      "prompt_queries=0,query=mean;"
      "sentencekv:digest=cuboid_mean,boundary=carry,reduction=max,found=5,expected=0,"
      "least=0.1,rank=sketches,prompt_queries=32,query=blend;"
      "sentencekv:boundary=local,reduction=mean,rank=keys";
  ASSERT_OK_AND_ASSIGN(const auto settings, ParsePolicies(text));
  EXPECT_EQ(settings[0].sentencekv, policy::kColm2025Options);
  EXPECT_EQ(settings[1].sentencekv, policy::SentenceKvOptions());
  const std::string usual = "sentencekv/budget=1024/factor=0/r8";
  EXPECT_EQ(settings[0].name(), usual +
                                    "/digest=mean/boundary=full/reduction=score/found=1/least=0/"
                                    "prompt_queries=0/query=mean");
  EXPECT_EQ(settings[1].name(), usual);
  EXPECT_EQ(settings[2].name(), usual + "/boundary=local/reduction=mean/rank=keys");
}

TEST(SettingTest, WhatIsWrongIsNamed) {
  for (const char* text :
       {"sentencekv:budget", "sentencekv:tokens=5", "other:budget=64", "", "sentencekv:budget=1",
        "sentencekv:factor=0.5", "full:budget=64", "full:factor=2", "sentencekv:digest=box",
        "sentencekv:found=0", "sentencekv:least=2", "sentencekv:expected=-1", "sentencekv:least=x",
        "sentencekv:found=x", "snapkv:found=1", "sentencekv:query=1", "sentencekv:rank=x"}) {
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
