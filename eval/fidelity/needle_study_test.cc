#include "eval/fidelity/needle_study.h"

#include "common/testing/status_matchers.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::eval {
namespace {

std::string ShadowName(const char* policy, int budget) {
  return Setting{.params = {policy, budget, 0}, .shadow_only = true}.name();
}

TEST(NeedleStudyTest, ASampleThatLacksAFieldIsRefused) {
  EXPECT_THAT(ParseNeedleSample("{\"task\": \"single\"}"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("--samples")));
  EXPECT_THAT(ParseNeedleSample("{"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("make_needles")));
}

TEST(NeedleStudyTest, ABudgetForEverythingAnswersAsFullAndHoldsTheNeedle) {
  const loader::TinyLlamaFile file({.head_dim = 32, .context_length = 1024});
  ASSERT_OK_AND_ASSIGN(const auto runner,
                       ModelRunner::Open({.model_path = file.path(), .chunk = 64}));
  NeedleSample sample{
      .task = "single", .answer_prefix = "It is", .outputs = {"7"}, .max_tokens = 12};
  for (int i = 0; i < 20; ++i) sample.input += "the other one. ";
  sample.span = {45, 60};
  ASSERT_OK_AND_ASSIGN(const auto settings,
                       ParsePolicies("sentencekv:budget=1000;sentencekv:budget=64"));
  ASSERT_OK_AND_ASSIGN(auto results, StudyNeedle(runner.get(), sample, WithReferences(settings)));
  nlohmann::json& generous = results.at("sentencekv/budget=1000/factor=0/r8");
  EXPECT_EQ(generous["answer"], results.at("full")["answer"]);
  EXPECT_FALSE(std::string(generous["answer"]).empty());
  EXPECT_NEAR(generous["f9_mean"], 1, 1e-12);
  EXPECT_EQ(generous["f1"], 1);
  EXPECT_GT(generous["index_tokens"], 0);
  EXPECT_LT(results.at(ShadowName("random", 64))["f9_mean"], 1);
  EXPECT_FALSE(results.at(ShadowName("random", 64)).contains("answer"));
}

}  // namespace
}  // namespace skv::eval
