#include "text/sentence_context.h"

#include <algorithm>

namespace skv::text {
namespace {

constexpr int kMaxCount = 1 << 16;  // counters stop there
constexpr int kTabColumns = 4;
constexpr int kCodeIndent = 2;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsCodeMark(char32_t c) {
  return c < 0x80 && std::string_view("={}_<>\\|").find(static_cast<char>(c)) != std::string::npos;
}

bool IsRomanNumeral(std::string_view word) {
  return word.size() <= 4 && word.find_first_not_of("ivx") == std::string_view::npos;
}

// Groups of one to three digits between single periods.
bool IsSectionNumber(std::string_view word) {
  int group = 0;
  for (const char c : word) {
    if (IsDigit(c) ? group == 3 : (c != '.' || group == 0)) return false;
    group = IsDigit(c) ? group + 1 : 0;
  }
  return group > 0;
}

}  // namespace

void ContextWord::Push(char32_t c) {
  if (size_ < kMaxSize) {
    const bool is_upper = c >= 'A' && c <= 'Z';
    chars_[size_] = c >= 0x80 ? '?' : static_cast<char>(is_upper ? c | 0x20 : c);
  }
  size_ = static_cast<uint8_t>(std::min(size_ + 1, kMaxSize + 1));
}

std::string_view ContextWord::view() const {
  return size_ > kMaxSize ? std::string_view() : std::string_view(chars_.data(), size_);
}

bool IsListMarker(std::string_view word) {
  if (word.empty()) return false;
  return word.size() == 1 || IsRomanNumeral(word) || IsSectionNumber(word);
}

void SentenceContext::Append(std::string_view bytes) {
  decoded_.clear();
  decoder_.Push(bytes, &decoded_);
  for (size_t pos = 0; pos < decoded_.size();) {
    const CodePoint c = DecodeAt(decoded_, pos);
    AppendCharacter(c.value);
    pos += c.num_bytes;
  }
}

void SentenceContext::Append(TurnMark mark) {
  *this = SentenceContext();
  turn_mark_ = mark;
  is_first_line_of_turn_ = mark == TurnMark::kOpening;
}

bool SentenceContext::is_turn_header() const {
  return is_first_line_of_turn_ && !word_.view().empty() && line_.length == word_.size();
}

bool SentenceContext::ends_with_list_marker() const {
  return stop_ == Stop::kPeriod && !is_closed_ && word_.starts_line &&
         line_.length == word_.size() + 1 && IsListMarker(word_.view());
}

void SentenceContext::AppendCharacter(char32_t c) {
  const CharClass char_class = ClassOf(c);
  if (char_class == CharClass::kMark) return;
  if (IsBlank(char_class)) return AppendBlank(c, char_class);
  AppendToLine(c, char_class);
  AppendToWord(c, char_class);
  UpdateStop(char_class);
  last_char_ = c;
  last_class_ = char_class;
  has_space_ = false;
  num_newlines_ = 0;
  indent_ = 0;
  turn_mark_ = TurnMark::kNone;
}

void SentenceContext::AppendBlank(char32_t c, CharClass char_class) {
  has_space_ = true;
  if (char_class == CharClass::kNewline) {
    num_newlines_ = static_cast<uint8_t>(std::min(num_newlines_ + 1, 2));
    indent_ = 0;
  } else {
    indent_ = std::min(indent_ + (c == '\t' ? kTabColumns : 1), kMaxCount);
  }
}

void SentenceContext::AppendToLine(char32_t c, CharClass char_class) {
  if (num_newlines_ > 0) is_first_line_of_turn_ = false;
  if (num_newlines_ > 0 || !has_text()) {
    line_ = {.has_code = indent_ >= kCodeIndent,
             .is_list_item = char_class == CharClass::kBullet || c == '*'};
  } else if (has_space_) {
    const bool ends_with_marker_in_bracket = last_char_ == ')' && word_.starts_line &&
                                             line_.length == word_.size() + 1 &&
                                             IsListMarker(word_.view());
    if (ends_with_list_marker() || ends_with_marker_in_bracket) line_.is_list_item = true;
  }
  const bool is_call = c == '(' && IsWordClass(last_class_) && !has_space_;
  if (is_call || IsCodeMark(c)) line_.has_code = true;
  line_.length = std::min(line_.length + 1, kMaxCount);
}

void SentenceContext::AppendToWord(char32_t c, CharClass char_class) {
  const bool follows_word = IsWordClass(last_class_) && !has_space_;
  if (IsWordClass(char_class)) {
    const bool follows_inner_period = last_class_ == CharClass::kPeriod && !has_space_ &&
                                      stop_ == Stop::kPeriod && word_.size() > 0;
    if (follows_inner_period) word_.Push('.');
    if (!follows_word && !follows_inner_period) {
      word_ = {};
      word_.starts_upper = char_class == CharClass::kUpper;
      word_.starts_line = num_newlines_ > 0 || !has_text();
    }
    word_.Push(c);
  } else if (!follows_word) {
    word_ = {};
  }
}

void SentenceContext::UpdateStop(CharClass char_class) {
  if (ClosesSentence(char_class) && stop_ != Stop::kNone && !has_space_) {
    is_closed_ = true;
    return;
  }
  const bool prolongs_period =
      !has_space_ && !is_closed_ && (stop_ == Stop::kPeriod || stop_ == Stop::kEllipsis);
  is_closed_ = false;
  switch (char_class) {
    case CharClass::kPeriod:
      stop_ = prolongs_period ? Stop::kEllipsis : Stop::kPeriod;
      break;
    case CharClass::kStop:
      stop_ = Stop::kStrong;
      break;
    case CharClass::kEllipsis:
      stop_ = Stop::kEllipsis;
      break;
    case CharClass::kWideStop:
      stop_ = Stop::kWide;
      break;
    default:
      stop_ = Stop::kNone;
  }
}

}  // namespace skv::text
