#include "text/sentence_end_rater.h"

#include "common/testing/status_matchers.h"
#include "text/abbreviations.h"

namespace skv::text {
namespace {

BoundaryStrength Rate(std::string_view before, std::string_view next) {
  SentenceContext context;
  context.Append(before);
  return RateBoundary(context, ReadTokenStart(next));
}

TEST(SentenceEndRaterTest, RatesAllStrengths) {
  const struct {
    std::string_view before, next;
    BoundaryStrength expected;
  } kCases[] = {
      {"He left.", " She", BoundaryStrength::kSentence},
      {"He left.", " she", BoundaryStrength::kClause},
      {"He left,", " so", BoundaryStrength::kClause},
      {"He", " left", BoundaryStrength::kWord},
      {"He le", "ft", BoundaryStrength::kInsideWord},
      {"He left.", "\"", BoundaryStrength::kInsideWord},
      {"He left.", "  ", BoundaryStrength::kInsideWord},
      {"", "He", BoundaryStrength::kWord},
      {"He left. \xE4\xBB", "\x96", BoundaryStrength::kInsideCharacter},
      {"He left. E", "\xCC\x81", BoundaryStrength::kInsideCharacter},
      {"\xE4\xBB\x96", "\xE8\xB5\xB0", BoundaryStrength::kWord},
      {"\xE4\xBB\x96\xEF\xBC\x8C", "\xE8\xB5\xB0", BoundaryStrength::kClause},
      {"\xE5\xA5\xBD\xE3\x80\x82", "\xE8\xB5\xB0", BoundaryStrength::kSentence},
      {"\xE5\xA5\xBD\xE3\x80\x82", "\xE8", BoundaryStrength::kSentence},
      // This may become a closing bracket.
      {"\xE5\xA5\xBD\xE3\x80\x82", "\xE3\x80", BoundaryStrength::kClause},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(Rate(c.before, c.next), c.expected) << c.before << "^" << c.next;
  }
}

TEST(SentenceEndRaterTest, LooksAtTheWordBehindAnAbbreviation) {
  const struct {
    std::string_view before, next;
    bool is_end;
  } kCases[] = {
      {"in the U.S.", " Army", false},
      {"in the U.S.", " The", true},
      {"at 5 p.m.", " Friday", false},
      {"at 5 p.m.", " We", true},
      {"Acme Inc.", " However", true},
      {"Acme Inc.", " Group", false},
      {"Mr.", " The", false},
      {"Henry J.", " Adams", false},
      {"see No.", " 7", false},
      {"I said no.", " Then", true},
      {"and me and I.", " Nobody", true},
      {"apples, etc.", " \"", true},
  };
  for (const auto& c : kCases) {
    const bool is_end = Rate(c.before, c.next) == BoundaryStrength::kSentence;
    EXPECT_EQ(is_end, c.is_end) << c.before << "^" << c.next;
  }
}

TEST(SentenceEndRaterTest, TextBeforeATurnMarkHasNoInfluence) {
  SentenceContext context;
  context.Append("He left.\n\n");
  context.Append(TurnMark::kOpening);
  EXPECT_EQ(RateBoundary(context, ReadTokenStart("She")), BoundaryStrength::kWord);
  context.Append(TurnMark::kClosing);
  EXPECT_EQ(RateBoundary(context, ReadTokenStart("She")), BoundaryStrength::kSentence);
}

TEST(SentenceEndRaterTest, KnowsListMarkers) {
  for (const char* word : {"1", "12", "123", "1.2", "1.2.13", "a", "iv", "xii"}) {
    EXPECT_TRUE(IsListMarker(word)) << word;
  }
  for (const char* word : {"", "1984", "1..2", "1.", "no", "ixvix", "a1"}) {
    EXPECT_FALSE(IsListMarker(word)) << word;
  }
}

TEST(AbbreviationsTest, KnowsKindsAndInitialisms) {
  EXPECT_EQ(FindAbbreviation("dr"), Abbreviation::kBeforeName);
  EXPECT_EQ(FindAbbreviation("fig"), Abbreviation::kBeforeNumber);
  EXPECT_EQ(FindAbbreviation("etc"), Abbreviation::kAnywhere);
  EXPECT_EQ(FindAbbreviation("u.s"), Abbreviation::kAnywhere);
  EXPECT_EQ(FindAbbreviation("3.14"), Abbreviation::kNone);
  EXPECT_EQ(FindAbbreviation("example.com"), Abbreviation::kNone);
  EXPECT_EQ(FindAbbreviation(""), Abbreviation::kNone);
}

}  // namespace
}  // namespace skv::text
