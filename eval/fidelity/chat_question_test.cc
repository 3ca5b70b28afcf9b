#include "eval/fidelity/chat_question.h"

#include "common/testing/status_matchers.h"
#include "text/chat_template.h"
#include "worker/engine/rank.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::eval {
namespace {

TEST(ChatQuestionTest, MatchIsTheShareOfExpectedStringsInAnyCase) {
  EXPECT_EQ(MatchAll("It is ABC, and 12.", {"abc", "12"}), 1);
  EXPECT_EQ(MatchAll("It is ABC.", {"abc", "12"}), 0.5);
  EXPECT_EQ(MatchAll("", {"abc"}), 0);
}

TEST(ChatQuestionTest, AFollowupGoesOnAsTheTemplateWritesTheConversation) {
  const loader::TinyLlamaFile file;
  ASSERT_OK_AND_ASSIGN(auto description, engine::DescribeModel(file.path()));
  ASSERT_OK_AND_ASSIGN(const auto tokenizer,
                       text::Tokenizer::Create(std::move(description.tokenizer)));
  ASSERT_OK_AND_ASSIGN(std::vector<TokenId> tokens, EncodeQuestion(*tokenizer, "a?", "It"));
  for (const auto& part : {tokenizer->Encode(" is", {}), EncodeFollowup(*tokenizer, "b?", "And")}) {
    ASSERT_OK(part);
    tokens.insert(tokens.end(), part->begin(), part->end());
  }
  ASSERT_OK_AND_ASSIGN(const auto chat,
                       text::ChatTemplate::Detect(tokenizer->spec().chat_template));
  ASSERT_OK_AND_ASSIGN(
      std::vector<TokenId> expected,
      chat.RenderToTokens(*tokenizer, {{"user", "a?"}, {"assistant", "It is"}, {"user", "b?"}},
                          /*add_generation_prompt=*/true));
  ASSERT_OK_AND_ASSIGN(const auto begun, tokenizer->Encode("And", {}));
  expected.insert(expected.end(), begun.begin(), begun.end());
  EXPECT_EQ(tokens, expected);
}

}  // namespace
}  // namespace skv::eval
