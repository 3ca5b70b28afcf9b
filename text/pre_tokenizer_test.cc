#include "text/pre_tokenizer.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::text {
namespace {

using Words = std::vector<std::string>;

Words Split(PreTokenizerKind kind, std::string_view text) {
  WordSplitter splitter(kind, text);
  Words words;
  std::string_view word;
  while (splitter.Next(&word)) words.emplace_back(word);
  return words;
}

struct Case {
  const char* why;
  std::string_view text;
  Words words;
};

void ExpectWords(PreTokenizerKind kind, const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(Split(kind, c.text), c.words);
  }
}

TEST(PreTokenizerTest, Gpt2KeepsASpaceWithTheWordBehindIt) {
  ExpectWords(PreTokenizerKind::kGpt2,
              {{"nothing", "", {}},
               {"words", "Hello big world", {"Hello", " big", " world"}},
               {"numbers stay together", "in 2024, yes", {"in", " 2024", ",", " yes"}},
               {"contractions, lower case only",
                "it's I'LL we'll",
                {"it", "'s", " I", "'", "LL", " we", "'ll"}},
               {"the last space goes with the word", "a   b", {"a", "  ", " b"}},
               {"a tab cannot go with a word", "a\tb", {"a", "\t", "b"}},
               {"trailing space", "a  ", {"a", "  "}},
               {"accents and CJK are letters",
                "\xC3\xA9t\xC3\xA9 \xE4\xBD\xA0\xE5\xA5\xBD",
                {"\xC3\xA9t\xC3\xA9", " \xE4\xBD\xA0\xE5\xA5\xBD"}},
               {"a combining mark is no letter", "e\xCC\x81x", {"e", "\xCC\x81", "x"}},
               {"U+0085 and U+3000 are white space",
                "a\xC2\x85\xE3\x80\x80z",
                {"a", "\xC2\x85", "\xE3\x80\x80", "z"}},
               {"a space does not lead U+0085", "a \xC2\x85z", {"a", " ", "\xC2\x85", "z"}},
               {"U+001C is not", "a\x1C z", {"a", "\x1C", " z"}},
               {"NUL is an ordinary character",
                std::string_view("a\0\0b", 4),
                {"a", std::string("\0\0", 2), "b"}}});
}

TEST(PreTokenizerTest, SmolLmSetsEachDigitApart) {
  ExpectWords(PreTokenizerKind::kSmolLm,
              {{"digits", "in 2024!", {"in", " ", "2", "0", "2", "4", "!"}},
               {"numbers of other scripts", "\xD9\xA3\xC2\xBD", {"\xD9\xA3", "\xC2\xBD"}},
               {"white space before a digit ends a part", "a  1", {"a", "  ", "1"}},
               {"a contraction does not reach over a digit", "'1s", {"'", "1", "s"}}});
}

TEST(PreTokenizerTest, Llama3GroupsNumbersByThreeAndTakesOneLeadingCharacter) {
  ExpectWords(PreTokenizerKind::kLlama3,
              {{"numbers", "12345 6", {"123", "45", " ", "6"}},
               {"any character may lead a word", "(foo)\tbar", {"(foo", ")", "\tbar"}},
               {"contractions in any case", "I'LL it'S", {"I", "'LL", " it", "'S"}},
               {"the long s is an s",
                "it'\xC5\xBF"
                "a",
                {"it", "'\xC5\xBF", "a"}},
               {"punctuation takes the line breaks behind it", "a ;\n\nb", {"a", " ;\n\n", "b"}},
               {"white space up to the last line break", "a \n \n  b", {"a", " \n \n", " ", " b"}},
               {"no line break leads a word", "\nb", {"\n", "b"}}});
}

TEST(PreTokenizerTest, DefaultSetsPunctuationApartAndSplitsNumbersByThree) {
  ExpectWords(PreTokenizerKind::kDefault,
              {{"punctuation", "a(b) c", {"a", "(", "b", ")", " c"}},
               {"contractions are cut", "it's", {"it", "'", "s"}},
               {"numbers lose their space", "x 12345", {"x", " ", "123", "45"}},
               {"only ASCII digits count for three",
                "\xD9\xA3"
                "123",
                {"\xD9\xA3", "123"}}});
}

TEST(PreTokenizerTest, WordsOfRandomTextAddUpToTheText) {
  const std::string_view kAlphabet[] = {" ",
                                        "\n",
                                        "\r",
                                        "'",
                                        "s",
                                        "l",
                                        "9",
                                        "$",
                                        "\xC2\x85",
                                        "\xC2\xBD",
                                        "\xC3\xA9",
                                        "\xE4\xBD\xA0",
                                        "\xF0\x9F\x98\x80",
                                        "\t"};
  uint32_t state = 1;
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 24; ++i) {
      state = state * 1664525 + 1013904223;
      text += kAlphabet[(state >> 16) % std::size(kAlphabet)];
    }
    for (const auto kind : {PreTokenizerKind::kGpt2, PreTokenizerKind::kSmolLm,
                            PreTokenizerKind::kLlama3, PreTokenizerKind::kDefault}) {
      std::string joined;
      for (const std::string& word : Split(kind, text)) {
        ASSERT_FALSE(word.empty());
        joined += word;
      }
      ASSERT_EQ(joined, text);
    }
  }
}

}  // namespace
}  // namespace skv::text
