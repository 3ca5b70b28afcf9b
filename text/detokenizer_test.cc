#include "text/detokenizer.h"

#include <memory>
#include <string>
#include <vector>

#include "common/testing/status_matchers.h"
#include "text/testing/tiny_spec.h"

namespace skv::text {
namespace {

using testing::ElementsAre;

class DetokenizerTest : public testing::Test {
 protected:
  // The output of each token, then that of Flush.
  std::vector<std::string> Detokenize(const std::vector<TokenId>& ids,
                                      IncrementalDetokenizer::Options options = {}) {
    IncrementalDetokenizer detokenizer(tokenizer_.get(), options);
    std::vector<std::string> outputs;
    for (const TokenId id : ids) outputs.push_back(detokenizer.Push(id));
    outputs.push_back(detokenizer.Flush());
    return outputs;
  }

  const std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::Create(TinySpec({"h e"})).value();
};

TEST_F(DetokenizerTest, HoldsACharacterBackUntilItsLastByte) {
  EXPECT_THAT(Detokenize({'a', 0xE4, 0xBD, 0xA0, 'b'}),
              ElementsAre("a", "", "", "\xE4\xBD\xA0", "b", ""));
}

TEST_F(DetokenizerTest, ReplacesWhatCannotBecomeACharacter) {
  EXPECT_THAT(Detokenize({0xE4, 0xBD, 'b'}), ElementsAre("", "",
                                                         "\xEF\xBF\xBD"
                                                         "b",
                                                         ""));
  EXPECT_THAT(Detokenize({0xFF, 0x80}), ElementsAre("\xEF\xBF\xBD", "\xEF\xBF\xBD", ""));
}

TEST_F(DetokenizerTest, FlushEndsAnUnfinishedCharacterOnce) {
  EXPECT_THAT(Detokenize({0xF0, 0x9F}), ElementsAre("", "", "\xEF\xBF\xBD"));
}

TEST_F(DetokenizerTest, ShowsControlTokensOnlyWhenAsked) {
  const std::vector<TokenId> ids = {kTinyFirstMerge, kTinyImEnd, kTinyTool};
  EXPECT_THAT(Detokenize(ids), ElementsAre("he", "", "<tool>", ""));
  EXPECT_THAT(Detokenize(ids, {.include_control = true}),
              ElementsAre("he", "<|im_end|>", "<tool>", ""));
}

TEST_F(DetokenizerTest, AHiddenControlTokenDoesNotBreakACharacterApart) {
  EXPECT_THAT(Detokenize({0xC3, kTinyImEnd, 0xA9}), ElementsAre("", "", "\xC3\xA9", ""));
}

TEST_F(DetokenizerTest, IgnoresIdsOutsideTheVocabulary) {
  EXPECT_THAT(Detokenize({-1, 1 << 30, 'a'}), ElementsAre("", "", "a", ""));
}

}  // namespace
}  // namespace skv::text
