// `explain` through a whole cluster, and what `skv explain` prints.

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kTokens = 150;  // more than a sentence may have

std::string Document() {
  std::string text;
  for (int i = 0; i < 40; ++i) absl::StrAppend(&text, "This is sentence ", i, ". ");
  return text;
}

v1::GenerateRequest ExplainedRequest() {
  v1::GenerateRequest request = TextRequest(Document(), kTokens);
  request.set_explain(true);
  request.set_explain_top(3);
  return request;
}

std::string RunExplain(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "explain");
  Program program("skv", arguments);
  const std::optional<ExitState> end = program.child().Wait(kPatience);
  EXPECT_TRUE(end.has_value() && end->ok()) << program.Output();
  return program.Output();
}

TEST(ExplainTest, TwoRanksNameTheSentencesOfThePromptThatEachGeneratedOneRead) {
  ASSERT_OK_AND_ASSIGN(
      const auto cluster,
      Cluster::Start({.tensor_parallel_size = 2,
                      .flags = {"--kv-policy", "sentencekv", "--max-capacity-prompts", "64"}}));
  const eval::StreamResult result = eval::Call(cluster->channel(), ExplainedRequest(), kPatience);
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  ASSERT_GE(result.explanations.size(), 2u);
  const std::string document = Document();
  int64_t end = 0;
  for (const v1::Explanation& explanation : result.explanations) {
    EXPECT_EQ(explanation.token_begin(), end);
    end = explanation.token_end();
    EXPECT_EQ(explanation.reads_size(), 3);
    double last_score = 1;
    for (const v1::SentenceRead& read : explanation.reads()) {
      EXPECT_EQ(read.text(),
                document.substr(read.text_begin(), read.text_end() - read.text_begin()));
      EXPECT_LT(read.token_begin(), read.token_end());
      EXPECT_GT(read.score(), 0);
      EXPECT_LE(read.score(), last_score);
      last_score = read.score();
      EXPECT_LE(read.heads_share(), 1);
    }
  }
  EXPECT_EQ(end, kTokens);

  v1::GenerateRequest plain = ExplainedRequest();
  plain.clear_explain();
  plain.clear_explain_top();
  const eval::StreamResult unexplained = eval::Call(cluster->channel(), plain, kPatience);
  EXPECT_TRUE(unexplained.explanations.empty());
  EXPECT_EQ(unexplained.tokens, result.tokens);
}

TEST(ExplainTest, TheCommandPrintsPlainLinesIntoAFileAndJsonOnRequest) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.tensor_parallel_size = 1}));
  const loader::TinyLlamaFile model(TinyModelOptions());
  for (const std::vector<std::string>& source :
       {std::vector<std::string>{"--endpoint", cluster->endpoint()},
        std::vector<std::string>{"--model", model.path(), "--threads", "1"}}) {
    SCOPED_TRACE(source[0]);
    std::vector<std::string> arguments = source;
    arguments.insert(arguments.end(),
                     {"--raw", "--max-tokens", "5", "--explain-top", "2", Document()});
    EXPECT_THAT(RunExplain(arguments),
                AllOf(HasSubstr("\n[1] "), HasSubstr("\n    score "), HasSubstr("  heads 100 %  "),
                      HasSubstr("This is sentence "), Not(HasSubstr("\x1b[0m"))));
    arguments.push_back("--json");
    const std::string output = RunExplain(arguments);
    const auto json = nlohmann::json::parse(output, nullptr, /*allow_exceptions=*/false);
    ASSERT_TRUE(json.is_object()) << output;
    ASSERT_EQ(json["explanations"].size(), 1u);
    const nlohmann::json& explanation = json["explanations"][0];
    EXPECT_EQ(explanation["token_end"], 5);
    EXPECT_EQ(explanation["text"], json["text"]);
    ASSERT_EQ(explanation["reads"].size(), 2u);
    EXPECT_EQ(explanation["reads"][0]["heads_share"], 1);
    const std::string text = explanation["reads"][0]["text"];
    EXPECT_EQ(text, Document().substr(explanation["reads"][0]["text_begin"], text.size()));
  }
}

}  // namespace
}  // namespace skv::e2e
