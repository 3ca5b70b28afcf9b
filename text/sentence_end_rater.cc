#include "text/sentence_end_rater.h"

#include <string>

#include "text/abbreviations.h"
#include "text/utf8.h"

namespace skv::text {
namespace {

// Characters, white space aside, from which on a line without a stop is taken for prose that was
// broken to fit a width; shorter ones are headings, verses or list items.
constexpr int kWrappedLineLength = 40;

// What lies between the last character before a boundary and the first one behind it.
struct Gap {
  bool has_space;
  int num_newlines;
};

// The word at `pos` as far as it is ASCII, in lower case.
std::string FirstWord(std::string_view text, size_t pos) {
  std::string word;
  for (; pos < text.size() && static_cast<unsigned char>(text[pos]) < 0x80; ++pos) {
    const char c = text[pos];
    const CharClass char_class = ClassOf(static_cast<unsigned char>(c));
    if (!IsWordClass(char_class)) break;
    word.push_back(char_class == CharClass::kUpper ? static_cast<char>(c | 0x20) : c);
  }
  return word;
}

bool IsBeforeFullSentence(const TokenStart& next) {
  return next.is_usual_first_word || next.first == CharClass::kQuote;
}

// Whether the period that `before` ends with ends the sentence, if no lower case follows it.
bool PeriodEnds(const SentenceContext& before, const TokenStart& next) {
  if (before.ends_with_list_marker()) return false;
  const ContextWord& word = before.word();
  const bool is_initial = word.size() == 1 && word.starts_upper && word.view() != "i";
  if (is_initial) return IsBeforeFullSentence(next);
  switch (FindAbbreviation(word.view())) {
    case Abbreviation::kNone:
      return true;
    case Abbreviation::kBeforeName:
      return false;
    case Abbreviation::kBeforeNumber:
      return next.first != CharClass::kDigit;
    case Abbreviation::kAnywhere:
      return IsBeforeFullSentence(next);
  }
  return true;
}

bool StopEnds(const SentenceContext& before, const TokenStart& next, const Gap& gap) {
  const bool goes_on = IsStopClass(next.first) || next.first == CharClass::kClause;
  if (goes_on) return false;
  if (before.stop() == Stop::kWide) return gap.has_space || !ClosesSentence(next.first);
  const bool goes_on_in_line = next.first == CharClass::kLower && gap.num_newlines == 0;
  if (!gap.has_space || goes_on_in_line) return false;
  return before.stop() != Stop::kPeriod || PeriodEnds(before, next);
}

// Whether a single line break ends a sentence that no stop ends.
bool LineBreakEnds(const SentenceContext& before, const TokenStart& next) {
  const char32_t last = before.last_char();
  if (last == ';' || last == ':' || last == '{' || last == '}') return true;
  const bool is_open =
      before.last_class() == CharClass::kClause || before.last_class() == CharClass::kOpener;
  if (before.line_has_code()) return !is_open;
  const bool starts_item = next.first == CharClass::kBullet || next.first == CharClass::kEmphasis ||
                           (before.line_is_list_item() && next.first == CharClass::kDigit);
  if (starts_item) return true;
  if (is_open || next.first == CharClass::kLower) return false;
  return before.line_length() < kWrappedLineLength;
}

BoundaryStrength RateInsideSentence(const SentenceContext& before, const Gap& gap) {
  const bool is_clause = before.last_class() == CharClass::kClause || before.stop() != Stop::kNone;
  // Scripts without case are mostly those without spaces, where a mark is followed by its text.
  const bool needs_no_space = before.last_char() >= 0x80;
  if (!gap.has_space && !needs_no_space) return BoundaryStrength::kInsideWord;
  if (is_clause) return BoundaryStrength::kClause;
  const bool is_unspaced_script = before.last_class() == CharClass::kLetter;
  return gap.has_space || is_unspaced_script ? BoundaryStrength::kWord
                                             : BoundaryStrength::kInsideWord;
}

}  // namespace

TokenStart ReadTokenStart(std::string_view bytes) {
  TokenStart start;
  LossyUtf8Decoder decoder;
  std::string text;
  decoder.Push(bytes, &text);
  for (size_t pos = 0; pos < text.size();) {
    const CodePoint c = DecodeAt(text, pos);
    const CharClass char_class = ClassOf(c.value);
    if (!IsBlank(char_class)) {
      start.first = char_class;
      start.is_usual_first_word =
          char_class == CharClass::kUpper && IsUsualFirstWord(FirstWord(text, pos));
      return start;
    }
    start.has_space = true;
    if (char_class == CharClass::kNewline) ++start.num_newlines;
    pos += c.num_bytes;
  }
  if (decoder.has_pending()) start.first = ClassOfUnfinished(decoder.pending());
  return start;
}

BoundaryStrength RateBoundary(const SentenceContext& before, const TokenStart& next) {
  if (next.turn_mark == TurnMark::kClosing) return BoundaryStrength::kInsideWord;
  if (next.turn_mark == TurnMark::kOpening) {
    return before.turn_mark() == TurnMark::kOpening ? BoundaryStrength::kWord
                                                    : BoundaryStrength::kSentence;
  }
  if (before.inside_character()) return BoundaryStrength::kInsideCharacter;
  if (next.first == CharClass::kNone) return BoundaryStrength::kInsideWord;
  if (before.turn_mark() == TurnMark::kClosing) return BoundaryStrength::kSentence;
  if (!before.has_text()) return BoundaryStrength::kWord;
  if (next.first == CharClass::kMark && !next.has_space) return BoundaryStrength::kInsideCharacter;

  const Gap gap = {before.ends_with_space() || next.has_space,
                   before.num_newlines() + next.num_newlines};
  if (gap.has_space && before.is_turn_header()) return BoundaryStrength::kWord;
  if (gap.num_newlines >= 2) return BoundaryStrength::kSentence;
  const bool has_stop = before.stop() != Stop::kNone;
  if (has_stop && StopEnds(before, next, gap)) return BoundaryStrength::kSentence;
  const bool line_may_end = gap.num_newlines == 1 && (!has_stop || before.line_has_code());
  if (line_may_end && LineBreakEnds(before, next)) return BoundaryStrength::kSentence;
  return RateInsideSentence(before, gap);
}

}  // namespace skv::text
