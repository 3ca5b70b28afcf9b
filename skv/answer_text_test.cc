#include "skv/answer_text.h"

#include "common/testing/status_matchers.h"
#include "text/testing/tiny_spec.h"

namespace skv {
namespace {

class AnswerTextTest : public testing::Test {
 protected:
  AnswerText Make(std::vector<std::string> stops) {
    return AnswerText(tokenizer_.get(), text::StopSet::Create(std::move(stops)).value());
  }

  const std::unique_ptr<text::Tokenizer> tokenizer_ =
      text::Tokenizer::Create(text::TinySpec({"h e"})).value();
};

TEST_F(AnswerTextTest, WithoutAStopEveryTokenIsShown) {
  AnswerText text = Make({});
  EXPECT_EQ(text.Push({'a', text::kTinyFirstMerge}), "ahe");
  EXPECT_EQ(text.Push({0xE4, 0xBD}), "");
  EXPECT_EQ(text.Flush(), "\xEF\xBF\xBD");
  EXPECT_FALSE(text.stopped());
  EXPECT_EQ(text.num_tokens(), 4);
}

TEST_F(AnswerTextTest, NothingOfAStopStringNorAfterItIsShown) {
  AnswerText text = Make({"END"});
  EXPECT_EQ(text.Push({'a', 'E'}), "a");
  EXPECT_EQ(text.Push({'N', 'D', 'b'}), "");
  EXPECT_TRUE(text.stopped());
  EXPECT_EQ(text.num_tokens(), 4);
  EXPECT_EQ(text.Push({'c'}), "");
  EXPECT_EQ(text.Flush(), "");
  EXPECT_EQ(text.num_tokens(), 4);
}

TEST_F(AnswerTextTest, TheBeginningOfAStopStringIsShownWhenTheAnswerEnds) {
  AnswerText text = Make({"END"});
  EXPECT_EQ(text.Push({'a', 'E', 'N'}), "a");
  EXPECT_EQ(text.Flush(), "EN");
  EXPECT_FALSE(text.stopped());
}

TEST_F(AnswerTextTest, ACharacterThatStaysUnfinishedMayCompleteAStopString) {
  AnswerText text = Make({"a\xEF\xBF\xBD"});
  EXPECT_EQ(text.Push({'a', 0xE4}), "");
  EXPECT_EQ(text.Flush(), "");
  EXPECT_TRUE(text.stopped());
}

}  // namespace
}  // namespace skv
