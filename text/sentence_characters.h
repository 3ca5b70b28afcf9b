#pragma once
// Characters as the sentence segmenter tells them apart.

#include <cstdint>
#include <string_view>

namespace skv::text {

enum class CharClass : uint8_t {
  kNone,      // no character at all
  kSpace,     // white space that does not break the line
  kNewline,   // a carriage return is a space, so that CR LF is one line break
  kMark,      // combining marks and format characters: part of the character before them
  kLower,     // lower-case letter
  kUpper,     // upper-case or title-case letter
  kLetter,    // letter of a script without case
  kDigit,     // number of any script
  kPeriod,    // '.', which also abbreviates and divides
  kStop,      // '!', '?' and Unicode's other Sentence_Terminal characters
  kWideStop,  // the CJK stops, which no space follows
  kEllipsis,  // U+2026
  kClause,    // comma, colon, semicolon, dash, and Unicode's other Terminal_Punctuation
  kOpener,    // opening bracket or quote
  kCloser,    // closing bracket or quote
  kQuote,     // straight quote, which opens or closes
  kEmphasis,  // '*', '_' and '`': Markdown's quotes; '*' starts a list item too
  kBullet,    // starts a list item
  kOther,
};

CharClass ClassOf(char32_t c);

// What a character may be of which only the first bytes are known, one to three of them: a closer
// where closing marks share these bytes, else a letter.
CharClass ClassOfUnfinished(std::string_view first_bytes);

inline bool IsBlank(CharClass c) { return c == CharClass::kSpace || c == CharClass::kNewline; }

inline bool IsWordClass(CharClass c) { return c >= CharClass::kLower && c <= CharClass::kDigit; }

// What ends a sentence; see SentenceContext for what follows.
inline bool IsStopClass(CharClass c) {
  return c >= CharClass::kPeriod && c <= CharClass::kEllipsis;
}

// Belongs to the sentence that ended directly before it.
inline bool ClosesSentence(CharClass c) {
  return c == CharClass::kCloser || c == CharClass::kQuote || c == CharClass::kEmphasis;
}

}  // namespace skv::text
