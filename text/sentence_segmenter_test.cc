#include "text/sentence_segmenter.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "common/testing/status_matchers.h"
#include "text/testing/reference_segmenter.h"
#include "text/testing/tiny_spec.h"

namespace skv::text {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::IsEmpty;

// "<|im_start|>" and "<|im_end|>" become their tokens, any other byte the token of its value.
std::vector<int> Bytes(std::string_view text) {
  std::vector<int> tokens;
  while (!text.empty()) {
    if (text.starts_with("<|im_start|>")) {
      tokens.push_back(kTinyImStart);
      text.remove_prefix(12);
    } else if (text.starts_with("<|im_end|>")) {
      tokens.push_back(kTinyImEnd);
      text.remove_prefix(10);
    } else {
      tokens.push_back(static_cast<unsigned char>(text.front()));
      text.remove_prefix(1);
    }
  }
  return tokens;
}

class SentenceSegmenterTest : public testing::Test {
 protected:
  // A vocabulary of bytes, and of the longer of `words` from kTinyFirstMerge on, as they stand in
  // text.
  void UseWords(const std::vector<std::string>& words) {
    spec_ = TinySpec({});
    for (const std::string& word : words) {
      if (word.size() == 1) continue;  // a token already
      std::string piece;
      for (const char c : word) piece += ByteToCharacter(static_cast<unsigned char>(c));
      spec_.tokens.push_back(piece);
      spec_.token_types.push_back(kTokenNormal);
    }
    segmenter_ = SentenceSegmenter::Create(spec_).value();
  }

  void SetUp() override { UseWords({}); }

  // The sentences of a text of single-byte tokens, the unfinished one last; '|' between them.
  std::string Cut(std::string_view text) {
    const std::vector<int> tokens = Bytes(text);
    std::string cut;
    size_t begin = 0;
    std::vector<int> ends = SentenceEnds(*segmenter_, tokens);
    EXPECT_THAT(ends, ElementsAreArray(ReferenceSentenceEnds(spec_, tokens)));
    ends.push_back(static_cast<int>(tokens.size()));
    for (const size_t end : ends) {
      for (; begin < end; ++begin) {
        if (tokens[begin] < 256) cut.push_back(static_cast<char>(tokens[begin]));
        if (tokens[begin] == kTinyImStart) cut += "<|im_start|>";
        if (tokens[begin] == kTinyImEnd) cut += "<|im_end|>";
      }
      cut += '|';
    }
    cut.pop_back();
    return cut;
  }

  TokenizerSpec spec_;
  std::shared_ptr<const SentenceSegmenter> segmenter_;
};

std::string WithoutCuts(std::string_view cut) {
  std::string text(cut);
  // The bars of a control token stay.
  std::string result;
  for (size_t pos = 0; pos < text.size(); ++pos) {
    const bool is_control =
        (pos > 0 && text[pos - 1] == '<') || (pos + 1 < text.size() && text[pos + 1] == '>');
    if (text[pos] != '|' || is_control) result.push_back(text[pos]);
  }
  return result;
}

TEST_F(SentenceSegmenterTest, CutsOnlyAfterRealSentenceEnds) {
  const struct {
    const char* why;
    std::string_view cut;
  } kCases[] = {
      {"text without a stop is one sentence", "and so on"},
      {"white space belongs to the sentence before it", "He left.  |She stayed."},
      {"closing quotes and brackets belong to the sentence",
       "\"He left.\" |(She stayed.) |[**Why?**] |\xE2\x80\x9CYes!\xE2\x80\x9D |So."},
      {"a quote's stop inside a sentence", "\"Why is it?\" he asked. |Nobody knew."},
      {"titles", "Dr. Smith met Mrs. Jones. |They left."},
      {"Latin", "Fruit, e.g. Apples, are good, i.e. Healthy. |Yes."},
      {"initials", "J. R. Smith came. |So did I. |Good."},
      {"numbers after abbreviations", "See No. 5 and Fig. 3. |He said no. |Good."},
      {"decimals", "Pi is 3.14 or so. |It is v1.2.3 now."},
      {"addresses", "See www.example.com/a.b for it. |Done."},
      {"list markers", "1. Wash it.\n|2. Dry it.\n|b) Go home.\n|iv. Sleep."},
      {"ellipses", "Well... maybe not. |Wait... |He left\xE2\x80\xA6 |Gone."},
      {"several stops", "What?! |No way!!! |Good."},
      {"blank lines", "A heading\n\n|and text\n \n|more"},
      {"short lines", "A heading\n|Some text"},
      {"wrapped prose",
       "It was a line of prose that is wrapped at a width of\nSeventy columns or\nso. |Good."},
      {"CR LF is one line break",
       "It was a line of prose that is wrapped at a width of\r\nSeventy columns or\r\nso. "
       "|Good.\r\n\r\n|Yes."},
      {"code", "int a = 3;\n|if (a) {\n  |run(a,\n      b);\n|}\n"},
      {"CJK stops need no space",
       "\xE4\xBB\x96\xE8\xB5\xB0\xE4\xBA\x86\xE3\x80\x82|\xE7\x9C\x9F\xEF\xBC\x9F\xEF\xBC\x81|"
       "\xE3\x80\x8C\xE5\xA5\xBD\xE3\x80\x82|\xE5\x97\xAF"},
      {"chat turns", "<|im_start|>user\nHi<|im_end|>\n|<|im_start|>assistant\nHo<|im_end|>\n"},
      {"a text that breaks off before a turn", "and then|<|im_start|>user\n"},
      {"too short sentences join the next one", "A!  |B? Do. |It."},
      {"ill-formed UTF-8", "Good \xE4\xBB. |\xFFyes. |\x80 no\xC3."},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(Cut(WithoutCuts(c.cut)), c.cut);
  }
}

TEST_F(SentenceSegmenterTest, SeesAFirstWordThatIsOneToken) {
  UseWords({" The", " Army"});
  const int the = kTinyFirstMerge, army = kTinyFirstMerge + 1;
  std::vector<int> tokens = Bytes("the U.S.");
  const int end = static_cast<int>(tokens.size());
  tokens.push_back(army);
  EXPECT_THAT(SentenceEnds(*segmenter_, tokens), IsEmpty());
  tokens.back() = the;
  EXPECT_THAT(SentenceEnds(*segmenter_, tokens), ElementsAre(end));
}

TEST_F(SentenceSegmenterTest, SeesAStopThatIsOneTokenWithWhatFollowsIt) {
  UseWords({".\"\n\n", " \"", "?!"});
  std::vector<int> tokens = Bytes("He said so");
  tokens.push_back(kTinyFirstMerge);
  tokens.push_back('a');
  EXPECT_THAT(SentenceEnds(*segmenter_, tokens), ElementsAre(11));
}

TEST_F(SentenceSegmenterTest, CutsLongSentencesAtAClauseThenAWordThenAnywhere) {
  const std::string clause(97, 'a'), word(121, 'a'), nothing(300, 'a');
  EXPECT_EQ(Cut(clause + ", " + clause), clause + ", |" + clause);
  EXPECT_EQ(Cut(word + " " + clause), word + " |" + clause);
  EXPECT_EQ(Cut(nothing),
            std::string(128, 'a') + "|" + std::string(128, 'a') + "|" + std::string(44, 'a'));
  EXPECT_EQ(Cut(std::string(97, 'a') + " b, " + clause), std::string(97, 'a') + " b, |" + clause);
}

TEST_F(SentenceSegmenterTest, TakesAnyId) {
  SentenceStream stream(segmenter_);
  for (const int token : {-1, -2147483647, 2147483647, 260}) {
    EXPECT_EQ(stream.Feed(token), std::nullopt);
  }
  EXPECT_EQ(stream.num_fed(), 4);
}

TEST_F(SentenceSegmenterTest, RefusesASpecThatNoTokenizerTakes) {
  EXPECT_THAT(SentenceSegmenter::Create(TokenizerSpec()),
              StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("tokenizer")));
}

TEST_F(SentenceSegmenterTest, AForkGoesOnAsItsOriginal) {
  SentenceStream original(segmenter_);
  for (const int token : Bytes("He met Dr")) original.Feed(token);
  SentenceStream fork = original;
  for (const int token : Bytes("owned man. T")) fork.Feed(token);
  EXPECT_EQ(fork.sentence_begin(), 20);
  for (const int token : Bytes(". T")) original.Feed(token);
  EXPECT_EQ(original.sentence_begin(), 0);
}

// Pieces that meet in every rule; the seed is fixed.
TEST_F(SentenceSegmenterTest, EqualsTheReferenceOnRandomTokens) {
  const std::vector<std::string> words = {".",
                                          "..",
                                          "?",
                                          "!\"",
                                          ".)",
                                          " ",
                                          "  ",
                                          "\n",
                                          "\n\n",
                                          "\n ",
                                          ".\n",
                                          " The",
                                          " He",
                                          "he",
                                          "Dr",
                                          " etc",
                                          " U",
                                          ".S",
                                          " 1",
                                          "12",
                                          "a)",
                                          "iv",
                                          " No",
                                          ", ",
                                          ";",
                                          ":",
                                          "{",
                                          "}",
                                          " =",
                                          "f(",
                                          ")",
                                          "(",
                                          " \"",
                                          "'",
                                          "*",
                                          "**",
                                          "-",
                                          "# ",
                                          "\r\n",
                                          "\t",
                                          "\xE2\x80\xA6",
                                          "\xE3\x80\x82",
                                          "\xE3\x80",
                                          "\x8D",
                                          "\xE4\xBB\x96",
                                          "\xE4\xBB",
                                          "\xE2\x80\x9C",
                                          "\xE2\x80\x9D",
                                          "\xCC\x81",
                                          "a. B",
                                          "ordinary",
                                          " words of prose",
                                          "\xC3\x89",
                                          ".g"};
  UseWords(words);
  std::vector<int> pool = {-1, kTinyImStart, kTinyImEnd};
  for (const std::string& word : words) {
    if (word.size() == 1) pool.push_back(static_cast<unsigned char>(word[0]));
  }
  for (int id = kTinyFirstMerge; id < static_cast<int>(spec_.tokens.size()); ++id) {
    pool.push_back(id);
  }
  std::mt19937 random(20250101);
  for (int round = 0; round < 300; ++round) {
    std::vector<int> tokens(1 + random() % 400);
    // Every fourth text is of any bytes; the others are of few kinds of tokens, so that these meet.
    std::ranges::shuffle(pool, random);
    const size_t num_kinds = 2 + random() % (pool.size() - 2);
    for (int& token : tokens) {
      token = round % 4 == 0 ? static_cast<int>(random() % 260) : pool[random() % num_kinds];
    }
    ASSERT_THAT(SentenceEnds(*segmenter_, tokens),
                ElementsAreArray(ReferenceSentenceEnds(spec_, tokens)))
        << "round " << round;
  }
}

}  // namespace
}  // namespace skv::text
