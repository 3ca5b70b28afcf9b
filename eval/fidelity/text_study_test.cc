// Studies of a small random model: forks equal separate runs, and shadows do not touch the states.

#include "eval/fidelity/text_study.h"

#include <cmath>
#include <random>

#include "common/testing/status_matchers.h"
#include "eval/fidelity/logit_comparison.h"
#include "eval/fidelity/shadow_policy.h"
#include "kernels/key_sketch.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::eval {
namespace {

constexpr int kLength = 300, kSteps = 20, kPrompt = kLength - kSteps;

std::string ShadowName(const char* policy, int budget) {
  return Setting{.params = {policy, budget, 0}, .shadow_only = true}.name();
}

class TextStudyTest : public testing::Test {
 protected:
  TextStudyTest() : file_({.head_dim = 32, .context_length = 1024}) {
    auto runner = ModelRunner::Open({.model_path = file_.path(), .chunk = 64});
    EXPECT_OK(runner);
    runner_ = std::move(runner).value();
    std::mt19937 random(3);
    for (int i = 0; i < kLength; ++i) text_.push_back(random() % 256);
  }

  static std::vector<Setting> Settings(std::string_view text) {
    auto settings = ParsePolicies(text);
    EXPECT_OK(settings);
    return WithReferences(*settings);
  }

  nlohmann::json Study(const std::vector<Setting>& settings, const TextStudyOptions& options) {
    const auto results = StudyText(runner_.get(), text_, settings, options);
    EXPECT_OK(results);
    return *results;
  }

  static ModelRunner::MakePolicy Maker(const policy::PolicyParams& params) {
    return [params](const policy::SequenceShape& shape,
                    const std::vector<policy::Sentence>* sentences) {
      return policy::CreatePolicy(params, shape, sentences);
    };
  }

  // Logits of each step of a sequence that was prefilled alone, fed what `full` chooses.
  std::vector<std::vector<float>> RunAlone(const policy::PolicyParams& params,
                                           std::vector<TokenId>* tokens) {
    TokenId next = 0;
    auto sequence = runner_->Prefill({text_.data(), kPrompt}, Maker(params), kPrompt - 1,
                                     [&](int, auto logits) { next = Argmax(logits); });
    EXPECT_OK(sequence);
    std::vector<std::vector<float>> rows;
    for (int step = 0; step < kSteps; ++step) {
      if (params.name == "full") tokens->push_back(next);
      std::vector<float> logits;
      Sequence* const sequences[] = {sequence->get()};
      EXPECT_OK(runner_->Step(sequences, {&(*tokens)[step], 1}, &logits));
      next = Argmax(logits);
      rows.push_back(std::move(logits));
    }
    return rows;
  }

  loader::TinyLlamaFile file_;
  std::unique_ptr<ModelRunner> runner_;
  std::vector<TokenId> text_;
};

TEST_F(TextStudyTest, ForksOfAShadowedPrefillHaveTheBitsOfSeparatePrefills) {
  const policy::PolicyParams params = {.name = "sentencekv", .budget_tokens = 64};
  std::vector<TokenId> tokens;
  const auto full = RunAlone({}, &tokens);
  const auto alone = RunAlone(params, &tokens);
  EXPECT_NE(full, alone);

  const std::vector<Setting> settings = Settings("sentencekv:budget=64;sentencekv:budget=32");
  auto prompt = runner_->Prefill({text_.data(), kPrompt}, ShadowPolicy::Maker(settings), kPrompt,
                                 [](int, auto) {});
  ASSERT_OK(prompt);
  const auto& policy = static_cast<const ShadowPolicy&>(*(*prompt)->policy);
  const auto shadow = runner_->Fork(**prompt), loop = runner_->Fork(**prompt);
  shadow->policy = policy.ForkPrompt(&shadow->tracker.sentences());
  loop->policy = policy.ForkCandidate(0, &loop->tracker.sentences());
  for (int step = 0; step < kSteps; ++step) {
    Sequence* const sequences[] = {shadow.get(), loop.get()};
    const TokenId fed[] = {tokens[step], tokens[step]};
    std::vector<float> logits;
    ASSERT_OK(runner_->Step(sequences, fed, &logits));
    const auto half = logits.begin() + logits.size() / 2;
    EXPECT_EQ(std::vector<float>(logits.begin(), half), full[step]) << step;
    EXPECT_EQ(std::vector<float>(half, logits.end()), alone[step]) << step;
  }
}

TEST_F(TextStudyTest, MetricsAreThoseOfSeparateRuns) {
  std::vector<TokenId> tokens;
  const auto full = RunAlone({}, &tokens);
  const auto alone = RunAlone({.name = "sentencekv", .budget_tokens = 64}, &tokens);
  LogitComparison expected;
  for (int step = 0; step < kSteps; ++step) expected.Add(full[step], alone[step]);
  const nlohmann::json got =
      Study(Settings("sentencekv:budget=64"),
            {.length = kLength, .steps = kSteps})["sentencekv/budget=64/factor=0/r8"];
  const nlohmann::json want = expected.Summarize();
  EXPECT_GT(want["f5_kl"], 0);
  for (const auto& [key, value] : want.items()) EXPECT_EQ(got[key], value) << key;
}

TEST_F(TextStudyTest, ABudgetForEverythingKeepsEverything) {
  const nlohmann::json results = Study(Settings("sentencekv:budget=300;full"),
                                       {.length = kLength, .steps = kSteps, .perplexity = true});
  for (const char* name : {"sentencekv/budget=300/factor=0/r8", "full"}) {
    EXPECT_EQ(results[name]["f1"], 1) << name;
    EXPECT_EQ(results[name]["f5_kl"], 0) << name;
    EXPECT_EQ(results[name]["f6_top1"], 1) << name;
    EXPECT_EQ(results[name]["f7_free_run"], kSteps) << name;
    EXPECT_EQ(results[name]["f8_gap"], 0) << name;
  }
  EXPECT_EQ(results[ShadowName("oracle_topk", 300)]["f1"], 1);
  EXPECT_EQ(results[ShadowName("random", 300)]["f1"], 1);
}

TEST_F(TextStudyTest, TheOracleKeepsMostAndReferencesSpendTheBudget) {
  const nlohmann::json results =
      Study(Settings("sentencekv:budget=64"), {.length = kLength, .steps = kSteps});
  const double oracle = results[ShadowName("oracle_topk", 64)]["f1"];
  EXPECT_LT(oracle, 1);
  for (const auto& [name, metrics] : results.items()) {
    EXPECT_LE(metrics["f1"], oracle) << name;
    if (name.starts_with("sentencekv")) {
      EXPECT_LE(metrics["attended"], 64);
      EXPECT_GT(metrics["attended"], 32) << "more than first and last tokens";
    } else {
      EXPECT_EQ(metrics["attended"], 64) << name;
    }
  }
}

TEST_F(TextStudyTest, KeysReadBesideWhatIsAttendedAreThoseOfEachPolicy) {
  const nlohmann::json results = Study(Settings("sentencekv:budget=64;snapkv:budget=64"),
                                       {.length = kLength, .steps = kSteps});
  EXPECT_EQ(results["snapkv/budget=64/r8"]["scored"], 0);
  EXPECT_EQ(results[ShadowName("random", 64)]["scored"], 0);
  // Step s sees kPrompt + s + 1 entries.
  EXPECT_EQ(results[ShadowName("oracle_topk", 64)]["scored"], kPrompt + (kSteps + 1) / 2.0 - 64);
  const double scored = results["sentencekv/budget=64/factor=0/r8"]["scored"];
  EXPECT_GT(scored, 0);
  const int head_dim = runner_->shape(1).head_dim;
  EXPECT_LE(scored, 5.0 * (64 - 8 - 16) * kernels::KeySketchBytes(head_dim) / (2 * head_dim));
}

TEST_F(TextStudyTest, EveryPolicyIsMeasuredAndTheOracleKeepsMore) {
  std::string policies;
  for (const std::string_view name : policy::PolicyNames()) {
    if (policy::HasBudget(name)) policies += std::string(name) + ":budget=64;";
  }
  const nlohmann::json results = Study(Settings(policies), {.length = kLength, .steps = kSteps});
  const double oracle = results[ShadowName("oracle_topk", 64)]["f1"];
  for (const Setting& setting : Settings(policies)) {
    const nlohmann::json& metrics = results[setting.name()];
    EXPECT_GT(metrics["f1"], 0) << setting.name();
    EXPECT_EQ(metrics.contains("f5_kl"), !setting.shadow_only) << setting.name();
    // Some attend more than the budget, as their headers say.
    if (metrics["attended"] <= 64) {
      EXPECT_LE(metrics["f1"], oracle) << setting.name();
    }
  }
}

TEST_F(TextStudyTest, PerplexityIsThatOfTheTextStepByStep) {
  const policy::PolicyParams params = {.name = "sentencekv", .budget_tokens = 64};
  const nlohmann::json results = Study(Settings("sentencekv:budget=64"),
                                       {.length = kLength, .steps = kSteps, .perplexity = true});
  double loss = 0;
  int count = 0;
  auto sequence = runner_->Prefill({text_.data(), 64}, Maker(params), 64, [](int, auto) {});
  ASSERT_OK(sequence);
  for (int position = 64; position + 1 < kPrompt; ++position, ++count) {
    Sequence* const sequences[] = {sequence->get()};
    std::vector<float> logits;
    ASSERT_OK(runner_->Step(sequences, {&text_[position], 1}, &logits));
    loss += NegativeLogLikelihood(logits, text_[position + 1]);
  }
  const nlohmann::json& got = results["sentencekv/budget=64/factor=0/r8"];
  EXPECT_EQ(got["f8_tokens"], count);
  EXPECT_NEAR(got["f8_loss"], loss / count, 1e-9);
  EXPECT_NEAR(got["f8_gap"], std::exp(loss / count - got["f8_full_loss"].get<double>()) - 1, 1e-9);
}

TEST_F(TextStudyTest, AVariantIsMeasuredInTheShadowAndInTheLoop) {
  const nlohmann::json results =
      Study(Settings("sentencekv:budget=64;sentencekv:budget=64,found=1"),
            {.length = kLength, .steps = kSteps});
  const auto& usual = results["sentencekv/budget=64/factor=0/r8"];
  const auto& variant = results["sentencekv/budget=64/factor=0/r8/found=1"];
  EXPECT_NE(variant["f1"], usual["f1"]);
  EXPECT_NE(variant["f5_kl"], usual["f5_kl"]);
  EXPECT_GT(usual["index_tokens"], 0);
  EXPECT_EQ(variant["index_tokens"], usual["index_tokens"]);
  EXPECT_EQ(results[ShadowName("random", 64)]["index_tokens"], 0);
}

TEST_F(TextStudyTest, ATextThatIsTooShortIsRefused) {
  EXPECT_THAT(StudyText(runner_.get(), text_, Settings("full"), {.length = 301, .steps = 8}),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("length 301")));
}

}  // namespace
}  // namespace skv::eval
