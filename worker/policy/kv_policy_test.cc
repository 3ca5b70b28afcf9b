#include "worker/policy/kv_policy.h"

#include <cmath>

#include "common/testing/status_matchers.h"

namespace skv::policy {
namespace {

using testing::HasSubstr;

constexpr SequenceShape kShape = {2, 1, 3, 32, 10};

TEST(KvPolicyTest, FullAttendsEverything) {
  const std::vector<Sentence> sentences;
  ASSERT_OK_AND_ASSIGN(const auto policy, CreatePolicy({}, kShape, &sentences));
  EXPECT_TRUE(policy->attends_all());
  EXPECT_EQ(policy->index_bytes(), 0u);
  std::vector<PositionRange> attended;
  policy->Select({1, 0, nullptr}, {nullptr, 0, 16, 1}, &attended);
  EXPECT_EQ(attended, (std::vector<PositionRange>{{0, 17}}));
  EXPECT_TRUE(policy->ForkPrompt(&sentences)->attends_all());
}

TEST(KvPolicyTest, EveryNameHasAPolicy) {
  const std::vector<Sentence> sentences;
  for (const std::string_view name : PolicyNames()) {
    ASSERT_OK_AND_ASSIGN(const auto policy,
                         CreatePolicy({std::string(name), 64, 0}, kShape, &sentences));
    EXPECT_EQ(policy->attends_all(), name == "full");
  }
}

TEST(KvPolicyTest, APolicyHasToSeeThePromptQueriesThatItLearnsFrom) {
  const auto queries = [](const char* name, double factor, int num_prompt_tokens) {
    return PromptQueries({name, 64, factor}, num_prompt_tokens);
  };
  for (const char* name : {"full", "streaming", "quest", "oracle_topk", "oracle_sentence",
                           "oracle_sentence_per_token", "random"}) {
    EXPECT_EQ(queries(name, 0, 300), 1) << name << ": the last one, which logits come from";
  }
  for (const char* name : {"snapkv", "pyramidkv", "chunk"}) {
    EXPECT_EQ(queries(name, 0, 300), 16) << name;
    EXPECT_EQ(queries(name, 0, 65), 16) << name;
    EXPECT_EQ(queries(name, 0, 64), 1) << name << " keeps all of a prompt within its budget";
  }
  for (const char* name : {"h2o", "infllm"}) {
    EXPECT_EQ(queries(name, 0, 300), 300) << name;
    EXPECT_EQ(queries(name, 0, 20), 20) << name;
  }
  EXPECT_EQ(queries("sentencekv", 0, 300), 32);
  EXPECT_EQ(queries("sentencekv", 2, 300), 32);
  EXPECT_EQ(queries("sentencekv", 0, 20), 20);
  EXPECT_EQ(queries("sentencekv_colm2025", 0, 193), 16) << "the published factor is 3";
  EXPECT_EQ(queries("sentencekv_colm2025", 0, 192), 1) << "nothing is filtered";
  EXPECT_EQ(queries("sentencekv_colm2025", 2, 192), 16);
}

TEST(KvPolicyTest, BadParametersAreNamed) {
  const auto error = [](const PolicyParams& params) {
    return CreatePolicy(params, kShape, nullptr).status();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_THAT(error({"fulll", 64, 0}),
              StatusIs(kInvalid, HasSubstr("\"fulll\" is unknown, expected one of full, ")));
  EXPECT_THAT(error({"sentencekv", 15, 0}),
              StatusIs(kInvalid, HasSubstr("max_capacity_prompts: 15, expected 16 to")));
  EXPECT_THAT(error({"sentencekv", 64, 0.5}),
              StatusIs(kInvalid, HasSubstr("semantic_factor: 0.5, expected 0 (no filter) or 1")));
  EXPECT_THAT(error({"sentencekv", 64, std::nan("")}), StatusIs(kInvalid, HasSubstr("nan")));
  EXPECT_THAT(error({"sentencekv", 64, 0, 1.5}),
              StatusIs(kInvalid, HasSubstr("min_recall: 1.5, expected 0 (none) to 1")));
}

TEST(KvPolicyTest, AFingerprintTellsPoliciesApart) {
  EXPECT_EQ(Fingerprint({"full", 64, 2}), Fingerprint({"full", 128, 0}));
  EXPECT_EQ(Fingerprint({"sentencekv", 64, 2}), "sentencekv/budget=64/factor=2/r8");
  EXPECT_EQ(Fingerprint({"snapkv", 64, 0, 0.9}), "snapkv/budget=64/min_recall=0.9/r8");
  EXPECT_EQ(Fingerprint({"full", 64, 0, 0.9}), "full") << "it reads the same";
}

}  // namespace
}  // namespace skv::policy
