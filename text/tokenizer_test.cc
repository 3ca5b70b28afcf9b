#include "text/tokenizer.h"

#include <memory>
#include <string>
#include <vector>

#include "common/testing/status_matchers.h"
#include "text/testing/tiny_spec.h"

namespace skv::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Ids = std::vector<TokenId>;

std::unique_ptr<Tokenizer> Make(TokenizerSpec spec) {
  auto tokenizer = Tokenizer::Create(std::move(spec));
  EXPECT_OK(tokenizer);
  return std::move(tokenizer).value();
}

Ids Encode(const Tokenizer& tokenizer, std::string_view text, EncodeOptions options = {}) {
  auto ids = tokenizer.Encode(text, options);
  EXPECT_OK(ids);
  return ids.value_or(Ids{-7});
}

std::string Decode(const Tokenizer& tokenizer, const Ids& ids) {
  std::string bytes;
  for (const TokenId id : ids) bytes += tokenizer.TokenBytes(id);
  return bytes;
}

constexpr TokenId kM = kTinyFirstMerge;  // the token of the first merge

TEST(TokenizerTest, MergesTheBestRankedPairFirst) {
  const auto tokenizer = Make(TinySpec({"e l", "h e", "el l", "h ell"}));
  EXPECT_THAT(Encode(*tokenizer, "hell"), ElementsAre(kM + 3));
  EXPECT_THAT(Encode(*tokenizer, "hel"), ElementsAre('h', kM));
  EXPECT_THAT(Encode(*tokenizer, "hex"), ElementsAre(kM + 1, 'x'));
}

TEST(TokenizerTest, MergesEqualPairsFromTheLeft) {
  const auto tokenizer = Make(TinySpec({"a a"}));
  EXPECT_THAT(Encode(*tokenizer, "aaaaa"), ElementsAre(kM, kM, 'a'));
}

TEST(TokenizerTest, SkipsAQueuedPairWhoseSideWasTaken) {
  const auto tokenizer = Make(TinySpec({"b c", "a b", "c d", "a bc"}));
  EXPECT_THAT(Encode(*tokenizer, "abcd"), ElementsAre(kM + 3, 'd'));
  // Merging "b c" although "a b" took the b would hide c from d's left neighbours.
  EXPECT_THAT(Encode(*Make(TinySpec({"a b", "b c", "d e", "c de"})), "abcde"),
              ElementsAre(kM, kM + 3));
}

TEST(TokenizerTest, DoesNotMergeAcrossWords) {
  const auto tokenizer = Make(TinySpec({"a b"}));
  EXPECT_THAT(Encode(*tokenizer, "ab a b"), ElementsAre(kM, ' ', 'a', ' ', 'b'));
}

TEST(TokenizerTest, LlamaTakesAWordOfTheVocabularyWholeWhateverTheMergesSay) {
  // "b c" is best, so merging "abc" gives a+bc; "ab c" makes abc a token all the same.
  const std::vector<std::string> merges = {"b c", "a b", "ab c"};
  EXPECT_THAT(Encode(*Make(TinySpec(merges, "gpt-2")), "abc"), ElementsAre('a', kM));
  EXPECT_THAT(Encode(*Make(TinySpec(merges, "llama-bpe")), "abc"), ElementsAre(kM + 2));
}

TEST(TokenizerTest, FindsControlTokensOnlyWhenAsked) {
  const auto tokenizer = Make(TinySpec({}));
  EXPECT_THAT(Encode(*tokenizer, "a<|im_end|>b", {.parse_special = true}),
              ElementsAre('a', kTinyImEnd, 'b'));
  EXPECT_EQ(Encode(*tokenizer, "a<|im_end|>b").size(), 12u);
}

TEST(TokenizerTest, FindsUserDefinedTokensAlways) {
  const auto tokenizer = Make(TinySpec({}));
  EXPECT_THAT(Encode(*tokenizer, "a<tool>"), ElementsAre('a', kTinyTool));
}

TEST(TokenizerTest, PrefersTheLongerOfTwoOverlappingSpecialTokens) {
  TokenizerSpec spec = TinySpec({});
  for (const char* text : {"[a", "a]]", "[a]"}) {
    spec.tokens.push_back(text);
    spec.token_types.push_back(kTokenControl);
  }
  const auto tokenizer = Make(spec);
  EXPECT_THAT(Encode(*tokenizer, "[a]]", {.parse_special = true}), ElementsAre('[', kM + 1))
      << "of equal length the one listed first wins, wherever it stands";
  EXPECT_THAT(Encode(*tokenizer, "[a]", {.parse_special = true}), ElementsAre(kM + 2));
  EXPECT_THAT(Encode(*tokenizer, "[a[a]", {.parse_special = true}), ElementsAre(kM, kM + 2));
}

TEST(TokenizerTest, PutsBosInFrontWhenTheSpecAndTheCallerAskForIt) {
  TokenizerSpec spec = TinySpec({});
  EXPECT_THAT(Encode(*Make(spec), "a", {.add_bos = true}), ElementsAre('a'));
  spec.add_bos = true;
  EXPECT_THAT(Encode(*Make(spec), "a", {.add_bos = true}), ElementsAre(kTinyEndOfText, 'a'));
  EXPECT_THAT(Encode(*Make(spec), "a"), ElementsAre('a'));
  EXPECT_THAT(Encode(*Make(spec), "", {.add_bos = true}), ElementsAre(kTinyEndOfText));
}

TEST(TokenizerTest, DecodesWhatItEncodedByteForByte) {
  const auto tokenizer = Make(TinySpec({"h e", "\xC3\xA5 \xC2\xBC", "\xC4\xA0 a"}, "smollm"));
  for (const std::string_view text :
       {std::string_view("he said: \xE4\xBD\xA0\xE5\xA5\xBD, 42 \xF0\x9F\x98\x80 e\xCC\x81\n\t  x"),
        std::string_view("\0\x01\x0B\xC2\x85\x7F", 6), std::string_view("")}) {
    EXPECT_EQ(Decode(*tokenizer, Encode(*tokenizer, text)), text);
  }
}

TEST(TokenizerTest, ReadsIllFormedUtf8AsReplacementCharacters) {
  const auto tokenizer = Make(TinySpec({}));
  EXPECT_EQ(Encode(*tokenizer, "a\xE4\xBD z"), Encode(*tokenizer, "a\xEF\xBF\xBD\xEF\xBF\xBD z"));
}

TEST(TokenizerTest, LeavesOutBytesWithoutAToken) {
  TokenizerSpec spec = TinySpec({"a b"});
  spec.tokens['x'] = "no-byte";
  const auto tokenizer = Make(spec);
  EXPECT_THAT(Encode(*tokenizer, "xabx"), ElementsAre(kM));
  EXPECT_THAT(Encode(*tokenizer, "axb"), ElementsAre('a', 'b'));
  EXPECT_EQ(tokenizer->MinTokens(1000), 0u);
}

TEST(TokenizerTest, TokenBytesIsEmptyOutsideTheVocabularyAndForUnusedTokens) {
  TokenizerSpec spec = TinySpec({});
  spec.token_types[kTinyTool] = kTokenUnused;
  const auto tokenizer = Make(spec);
  for (const TokenId id : {-1, tokenizer->vocab_size(), INT32_MAX, INT32_MIN, kTinyTool}) {
    EXPECT_THAT(tokenizer->TokenBytes(id), IsEmpty());
    EXPECT_FALSE(tokenizer->IsControl(id));
  }
  EXPECT_EQ(tokenizer->TokenBytes(kTinyImEnd), "<|im_end|>");
}

TEST(TokenizerTest, KnowsTheTokensThatEndAGeneration) {
  const auto tokenizer = Make(TinySpec({}));
  EXPECT_TRUE(tokenizer->IsEndOfGeneration(kTinyImEnd));
  EXPECT_TRUE(tokenizer->IsEndOfGeneration(kTinyEndOfText)) << "by its name";
  EXPECT_FALSE(tokenizer->IsEndOfGeneration(kTinyImStart));
  EXPECT_FALSE(tokenizer->IsEndOfGeneration('a'));
}

TEST(TokenizerTest, MinTokensNeverExceedsWhatEncodeGives) {
  const auto tokenizer = Make(TinySpec({"a a", "aa aa", "aaaa aaaa", "aaaaaaaa aaaaaaaa"}));
  for (const size_t n : {0, 1, 16, 17, 1000}) {
    EXPECT_LE(tokenizer->MinTokens(n), Encode(*tokenizer, std::string(n, 'a')).size());
  }
  EXPECT_EQ(tokenizer->MinTokens(1600), 100u);
}

TEST(TokenizerTest, MaxBytesIsThatOfTheLongestToken) {
  const std::string longest = "<|endoftext|>";
  EXPECT_EQ(Make(TinySpec({"a a"}))->MaxBytes(100), 100 * longest.size());
}

TEST(TokenizerTest, TenMegabytesWithoutASpaceAreEncodedInLinearMemory) {
  const auto tokenizer = Make(TinySpec({"a b", "ab ab", "abab abab"}));
  std::string text;
  for (int i = 0; i < 5'000'000; ++i) text += "ab";
  const Ids ids = Encode(*tokenizer, text);
  EXPECT_EQ(ids.size(), 1'250'000u);
  EXPECT_EQ(Decode(*tokenizer, ids), text);
}

TEST(TokenizerTest, RefusesAWordOrATextThatIsTooLong) {
  const auto tokenizer = Make(TinySpec({}));
  EXPECT_THAT(tokenizer->Encode(std::string(BytePairMerger::kMaxWordBytes + 1, 'a'), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a word of 16777217 bytes")));
  EXPECT_THAT(tokenizer->Encode(std::string(Tokenizer::kMaxTextBytes + 1, ' '), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("134217729 bytes")));
}

}  // namespace
}  // namespace skv::text
