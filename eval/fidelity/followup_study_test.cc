#include "eval/fidelity/followup_study.h"

#include "common/testing/status_matchers.h"
#include "eval/fidelity/chat_question.h"
#include "eval/fidelity/greedy_answers.h"
#include "eval/fidelity/logit_comparison.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::eval {
namespace {

constexpr int kMaxTokens = 12;

FollowupSample MakeSample() {
  FollowupSample sample{.task = "followup", .max_tokens = kMaxTokens};
  for (int i = 0; i < 20; ++i) sample.document += "the other one. ";
  sample.questions = {{{"Which?", "It is", {"7"}}, {"Where is it?", "In", {"8"}}}};
  return sample;
}

class FollowupStudyTest : public testing::Test {
 protected:
  FollowupStudyTest() : file_({.head_dim = 32, .context_length = 1024}) {
    auto runner = ModelRunner::Open({.model_path = file_.path(), .chunk = 64});
    EXPECT_OK(runner);
    runner_ = std::move(runner).value();
  }

  std::unique_ptr<Sequence> Prefill(const std::vector<TokenId>& prompt, TokenId* next) {
    auto sequence = runner_->Prefill(
        prompt,
        [](const policy::SequenceShape& shape, const std::vector<policy::Sentence>* sentences) {
          return policy::CreatePolicy({}, shape, sentences);
        },
        static_cast<int>(prompt.size()) - 1,
        [&](int, std::span<const float> logits) { *next = Argmax(logits); });
    EXPECT_OK(sequence);
    return *std::move(sequence);
  }

  // Full attention's answer to a prompt.
  Answer Ask(const std::vector<TokenId>& prompt) {
    std::vector<Answer> answers(1);
    answers[0].sequence = Prefill(prompt, &answers[0].next);
    EXPECT_OK(DecodeAnswers(runner_.get(), kMaxTokens, &answers));
    return std::move(answers[0]);
  }

  const loader::TinyLlamaFile file_;
  std::unique_ptr<ModelRunner> runner_;
};

TEST_F(FollowupStudyTest, AsksAsOneConversationDoes) {
  const FollowupSample sample = MakeSample();
  ASSERT_OK_AND_ASSIGN(auto results, StudyFollowup(runner_.get(), sample, {}));
  ASSERT_OK_AND_ASSIGN(
      std::vector<TokenId> tokens,
      EncodeQuestion(runner_->tokenizer(), sample.document + "\n\nWhich?", "It is"));
  const Answer first = Ask(tokens);
  EXPECT_EQ(results["full"]["first_answers"][0], first.text);
  ASSERT_OK_AND_ASSIGN(const auto question,
                       EncodeFollowup(runner_->tokenizer(), "Where is it?", "In"));
  tokens.insert(tokens.end(), first.tokens.begin(), first.tokens.end());
  tokens.insert(tokens.end(), question.begin(), question.end());
  const Answer second = Ask(tokens);
  EXPECT_EQ(results["full"]["second_answers"][1], second.text);
  EXPECT_FALSE(second.text.empty());
}

TEST_F(FollowupStudyTest, ABudgetForEverythingAnswersAsFull) {
  ASSERT_OK_AND_ASSIGN(const auto settings,
                       ParsePolicies("sentencekv:budget=1000;snapkv:budget=1000;snapkv:budget=16"));
  ASSERT_OK_AND_ASSIGN(auto results, StudyFollowup(runner_.get(), MakeSample(), settings));
  ASSERT_EQ(results.size(), 4);
  const nlohmann::json& full = results["full"];
  EXPECT_EQ(results[settings[0].name()], full);
  EXPECT_EQ(results[settings[1].name()], full);
  const nlohmann::json& snapkv = results[settings[2].name()];
  EXPECT_NE(snapkv, full);
  // The second question is computed with full attention, and so is its answer's first token.
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(snapkv["second_answers"][i].get<std::string>()[0],
              full["second_answers"][i].get<std::string>()[0]);
    EXPECT_NE(snapkv["second_answers"][i], full["second_answers"][i]);
  }
  EXPECT_EQ(full["same_document"], true);
  EXPECT_GT(full["document_tokens"], 100);
}

TEST_F(FollowupStudyTest, RowsAreEqualAsFarAsThePromptsAre) {
  TokenId next = 0;
  const auto a = Prefill({1, 2, 3, 4}, &next), b = Prefill({1, 2, 3, 5}, &next);
  EXPECT_TRUE(runner_->EqualRows(*a, *b, 3));
  EXPECT_FALSE(runner_->EqualRows(*a, *b, 4));
}

TEST_F(FollowupStudyTest, ALineThatLacksAQuestionIsRefused) {
  const std::string question = R"({"text": "?", "answer_prefix": "It", "outputs": ["7"]})";
  const auto line = [](const std::string& questions) {
    return R"({"task": "followup", "seed": 3, "document": "a", "questions": [)" + questions + "]}";
  };
  ASSERT_OK_AND_ASSIGN(const auto sample, ParseFollowupSample(line(question + "," + question)));
  EXPECT_EQ(sample.seed, 3);
  EXPECT_THAT(sample.questions[1].outputs, testing::ElementsAre("7"));
  EXPECT_THAT(ParseFollowupSample(line(question)),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("--followups")));
  EXPECT_THAT(ParseFollowupSample("{"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("make_needles")));
}

}  // namespace
}  // namespace skv::eval
