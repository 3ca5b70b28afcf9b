#pragma once
// What the text before a token boundary tells about a sentence end there: a finite automaton over
// characters, of bounded size however long the text.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "text/sentence_characters.h"
#include "text/utf8.h"

namespace skv::text {

enum class Stop : uint8_t { kNone, kPeriod, kStrong, kEllipsis, kWide };

// How a control token stands between sentences.
enum class TurnMark : uint8_t {
  kNone,
  kOpening,  // <|im_start|>: a sentence starts with it
  kClosing,  // <|im_end|>: the sentence before it ends with it
};

// A word in lower case, each character outside ASCII as '?'.
class ContextWord {
 public:
  static constexpr int kMaxSize = 15;

  void Push(char32_t c);
  // Empty for a word of more than kMaxSize characters: no rule knows one.
  std::string_view view() const;
  int size() const { return size_; }  // kMaxSize + 1 for any longer one

  bool starts_upper = false;
  bool starts_line = false;

 private:
  std::array<char, kMaxSize> chars_ = {};
  uint8_t size_ = 0;
};

// "1", "12", "1.2", "b", "iv": what with '.' or ')' behind it numbers a list item.
bool IsListMarker(std::string_view word);

// Copyable, not thread-safe. Text before a control token has no influence. Combining marks have
// none either.
class SentenceContext {
 public:
  // Bytes may end inside a character, which the next bytes go on with.
  void Append(std::string_view bytes);
  void Append(TurnMark mark);

  // The appended bytes end inside a character.
  bool inside_character() const { return decoder_.has_pending(); }
  // The control token that all visible text comes before, or kNone when there is text behind it.
  TurnMark turn_mark() const { return turn_mark_; }
  // All text is one word behind an opening token: the role in "<|im_start|>user\n".
  bool is_turn_header() const;
  bool has_text() const { return last_class_ != CharClass::kNone; }

  // The stop that the text ends with, if only closing marks and white space follow it.
  Stop stop() const { return stop_; }
  // The word that stop() == kPeriod directly follows; else unspecified.
  const ContextWord& word() const { return word_; }
  // stop() is the period of "1." at the start of a line.
  bool ends_with_list_marker() const;

  // The last character that is not white space, and what follows it.
  CharClass last_class() const { return last_class_; }
  char32_t last_char() const { return last_char_; }
  bool ends_with_space() const { return has_space_; }
  int num_newlines() const { return num_newlines_; }  // at most 2

  // The line of last_char():
  int line_length() const { return line_.length; }       // its characters without white space
  bool line_has_code() const { return line_.has_code; }  // it is indented or has marks of code
  bool line_is_list_item() const { return line_.is_list_item; }

 private:
  struct Line {
    int length = 0;
    bool has_code = false;
    bool is_list_item = false;
  };

  void AppendCharacter(char32_t c);
  void AppendBlank(char32_t c, CharClass char_class);
  void AppendToLine(char32_t c, CharClass char_class);
  void AppendToWord(char32_t c, CharClass char_class);
  void UpdateStop(CharClass char_class);

  LossyUtf8Decoder decoder_;
  std::string decoded_;
  ContextWord word_;
  Line line_;
  char32_t last_char_ = 0;
  int indent_ = 0;  // columns of white space since the last line break or character
  CharClass last_class_ = CharClass::kNone;
  Stop stop_ = Stop::kNone;
  TurnMark turn_mark_ = TurnMark::kNone;
  bool is_first_line_of_turn_ = false;
  uint8_t num_newlines_ = 0;
  bool has_space_ = false;
  bool is_closed_ = false;  // closing marks follow the stop
};

}  // namespace skv::text
