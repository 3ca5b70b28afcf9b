#include "text/testing/reference_segmenter.h"

#include <algorithm>
#include <regex>
#include <string>
#include <string_view>

#include "text/abbreviations.h"
#include "text/sentence_characters.h"
#include "text/sentence_end_rater.h"
#include "text/utf8.h"

namespace skv::text {
namespace {

using Text = std::u32string_view;

constexpr size_t kLongestWord = 15;
constexpr int kWrappedLineLength = 40;

std::u32string ToCharacters(std::string_view utf8) {
  std::u32string characters;
  for (size_t pos = 0; pos < utf8.size();) {
    const CodePoint c = DecodeAt(utf8, pos);
    characters.push_back(c.value);
    pos += c.num_bytes;
  }
  return characters;
}

bool IsBlankChar(char32_t c) { return IsBlank(ClassOf(c)); }
bool IsWordChar(char32_t c) { return IsWordClass(ClassOf(c)); }
bool IsNewline(char32_t c) { return ClassOf(c) == CharClass::kNewline; }

int CountNewlines(Text text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), IsNewline));
}

// A word as the rules compare it: lower case, '?' outside ASCII, nothing if too long.
std::string Plain(Text word) {
  std::string plain;
  for (const char32_t c : word) {
    plain.push_back(c >= 0x80 ? '?' : static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c));
  }
  return plain.size() > kLongestWord ? "" : plain;
}

bool IsMarker(Text word) {
  static const std::regex kMarker("[^.]|[ivx]{1,4}|[0-9]{1,3}(\\.[0-9]{1,3})*");
  return std::regex_match(Plain(word), kMarker);
}

// Text without the white space at its end.
Text Trimmed(Text text) {
  while (!text.empty() && IsBlankChar(text.back())) text.remove_suffix(1);
  return text;
}

// The last word of `text`, with periods inside it; empty if `text` ends otherwise.
Text LastWord(Text text) {
  size_t begin = text.size();
  while (begin > 0) {
    const bool is_inner_period =
        begin < text.size() && begin > 1 && text[begin - 1] == '.' && IsWordChar(text[begin - 2]);
    if (!IsWordChar(text[begin - 1]) && !is_inner_period) break;
    --begin;
  }
  return text.substr(begin);
}

// The line of the last character. REQUIRES: `text` is trimmed.
Text LastLine(Text text) {
  size_t begin = text.size();
  while (begin > 0 && !IsNewline(text[begin - 1])) --begin;
  return text.substr(begin);
}

// Whether only white space lies between the start of the line and the end of `text`.
bool EndsAtLineStart(Text text) {
  const size_t gap_begin = Trimmed(text).size();
  return gap_begin == 0 || CountNewlines(text.substr(gap_begin)) > 0;
}

bool HasCode(Text line) {
  int indent = 0;
  size_t pos = 0;
  for (; pos < line.size() && IsBlankChar(line[pos]); ++pos) indent += line[pos] == '\t' ? 4 : 1;
  if (indent >= 2) return true;
  for (; pos < line.size(); ++pos) {
    if (Text(U"={}_<>\\|").find(line[pos]) != Text::npos) return true;
    if (line[pos] == '(' && pos > 0 && IsWordChar(line[pos - 1])) return true;
  }
  return false;
}

bool IsListItem(Text line) {
  while (!line.empty() && IsBlankChar(line.front())) line.remove_prefix(1);
  if (line.empty()) return false;
  if (ClassOf(line[0]) == CharClass::kBullet || line[0] == '*') return true;
  const auto* chunk_end = std::find_if(line.begin(), line.end(), IsBlankChar);
  if (chunk_end == line.end()) return false;
  const Text chunk = line.substr(0, chunk_end - line.begin());
  const Text word = chunk.substr(0, chunk.size() - 1);
  return (chunk.back() == '.' || chunk.back() == ')') && LastWord(word) == word && IsMarker(word);
}

class Boundary {
 public:
  // `before` has the text since the last control token, which was `mark`, without combining marks.
  Boundary(Text before, TurnMark mark, TokenStart next)
      : text_(Trimmed(before)),
        mark_(mark),
        next_(next),
        has_space_(text_.size() < before.size() || next.has_space),
        num_newlines_(CountNewlines(before.substr(text_.size())) + next.num_newlines) {}

  BoundaryStrength Rate() const {
    if (text_.empty() && mark_ == TurnMark::kClosing) return BoundaryStrength::kSentence;
    if (text_.empty()) return BoundaryStrength::kWord;
    if (next_.first == CharClass::kMark && !next_.has_space) {
      return BoundaryStrength::kInsideCharacter;
    }
    if (has_space_ && IsTurnHeader()) return BoundaryStrength::kWord;
    const size_t stop = FindStop();
    const bool has_stop = stop != Text::npos;
    if (num_newlines_ >= 2 || (has_stop && EndsAtStop(stop)) ||
        (num_newlines_ == 1 && (!has_stop || HasCode(LastLine(text_))) && EndsAtLineBreak())) {
      return BoundaryStrength::kSentence;
    }
    const bool is_spaceless = text_.back() >= 0x80;
    if (!has_space_ && !is_spaceless) return BoundaryStrength::kInsideWord;
    if (has_stop || ClassOf(text_.back()) == CharClass::kClause) return BoundaryStrength::kClause;
    if (has_space_ || ClassOf(text_.back()) == CharClass::kLetter) return BoundaryStrength::kWord;
    return BoundaryStrength::kInsideWord;
  }

 private:
  bool IsTurnHeader() const {
    const Text word = LastWord(text_);
    const Text before_word = text_.substr(0, text_.size() - word.size());
    return mark_ == TurnMark::kOpening && CountNewlines(before_word) == 0 &&
           Trimmed(before_word).empty() && !Plain(word).empty();
  }

  // Of the stop that only closing marks follow; npos if there is none.
  size_t FindStop() const {
    size_t end = text_.size();
    while (end > 0 && ClosesSentence(ClassOf(text_[end - 1]))) --end;
    return end > 0 && IsStopClass(ClassOf(text_[end - 1])) ? end - 1 : Text::npos;
  }

  bool EndsAtStop(size_t stop) const {
    if (IsStopClass(next_.first) || next_.first == CharClass::kClause) return false;
    const CharClass stop_class = ClassOf(text_[stop]);
    if (stop_class == CharClass::kWideStop) return has_space_ || !ClosesSentence(next_.first);
    if (!has_space_) return false;
    if (next_.first == CharClass::kLower && num_newlines_ == 0) return false;
    const CharClass previous = stop > 0 ? ClassOf(text_[stop - 1]) : CharClass::kNone;
    const bool is_lone_period = stop_class == CharClass::kPeriod &&
                                previous != CharClass::kPeriod && previous != CharClass::kEllipsis;
    return !is_lone_period || stop + 1 < text_.size() || EndsAtPeriod(text_.substr(0, stop));
  }

  bool EndsAtPeriod(Text before_period) const {
    const Text word = LastWord(before_period);
    const Text before_word = before_period.substr(0, before_period.size() - word.size());
    if (!word.empty() && EndsAtLineStart(before_word) && IsMarker(word)) return false;
    const bool is_first_word = next_.is_usual_first_word || next_.first == CharClass::kQuote;
    if (word.size() == 1 && ClassOf(word[0]) == CharClass::kUpper && word[0] != 'I') {
      return is_first_word;
    }
    switch (FindAbbreviation(Plain(word))) {
      case Abbreviation::kNone:
        return true;
      case Abbreviation::kBeforeName:
        return false;
      case Abbreviation::kBeforeNumber:
        return next_.first != CharClass::kDigit;
      case Abbreviation::kAnywhere:
        return is_first_word;
    }
    return true;
  }

  bool EndsAtLineBreak() const {
    if (Text(U";:{}").find(text_.back()) != Text::npos) return true;
    const CharClass last = ClassOf(text_.back());
    const bool is_open = last == CharClass::kClause || last == CharClass::kOpener;
    const Text line = LastLine(text_);
    if (HasCode(line)) return !is_open;
    if (next_.first == CharClass::kBullet || next_.first == CharClass::kEmphasis) return true;
    if (next_.first == CharClass::kDigit && IsListItem(line)) return true;
    if (is_open || next_.first == CharClass::kLower) return false;
    return line.size() - std::count_if(line.begin(), line.end(), IsBlankChar) < kWrappedLineLength;
  }

  const Text text_;
  const TurnMark mark_;
  const TokenStart next_;
  const bool has_space_;
  const int num_newlines_;
};

class ReferenceSegmenter {
 public:
  ReferenceSegmenter(const TokenizerSpec& spec, absl::Span<const int> tokens)
      : spec_(spec), tokens_(tokens), closing_(EndOfGenerationIds(spec)) {}

  std::vector<int> Ends() const {
    std::vector<int> ends;
    int begin = 0;
    for (int end = 1; end < static_cast<int>(tokens_.size()); ++end) {
      const int size = end - begin;
      if (size < 4) continue;
      const BoundaryStrength strength = RateAt(end);
      if (strength == BoundaryStrength::kSentence ||
          (size >= 96 && strength == BoundaryStrength::kClause) ||
          (size >= 120 && strength == BoundaryStrength::kWord) || size == 128) {
        ends.push_back(begin = end);
      }
    }
    return ends;
  }

 private:
  TurnMark MarkOf(int id) const {
    const bool is_known = id >= 0 && static_cast<size_t>(id) < spec_.tokens.size();
    if (!is_known || TypeOf(spec_, id) != kTokenControl) return TurnMark::kNone;
    return closing_.contains(id) ? TurnMark::kClosing : TurnMark::kOpening;
  }

  std::string BytesAt(int idx) const {
    const int id = tokens_[idx];
    const bool is_known = id >= 0 && static_cast<size_t>(id) < spec_.tokens.size();
    return is_known ? BytesOfToken(spec_, id) : "";
  }

  BoundaryStrength RateAt(int end) const {
    int begin = end;
    while (begin > 0 && MarkOf(tokens_[begin - 1]) == TurnMark::kNone) --begin;
    const TurnMark mark = begin > 0 ? MarkOf(tokens_[begin - 1]) : TurnMark::kNone;
    std::string bytes, decoded;
    for (int idx = begin; idx < end; ++idx) bytes += BytesAt(idx);
    LossyUtf8Decoder decoder;
    decoder.Push(bytes, &decoded);
    std::u32string before = ToCharacters(decoded);
    std::erase_if(before, [](char32_t c) { return ClassOf(c) == CharClass::kMark; });

    const TurnMark next_mark = MarkOf(tokens_[end]);
    if (next_mark == TurnMark::kClosing) return BoundaryStrength::kInsideWord;
    if (next_mark == TurnMark::kOpening) {
      const bool follows_opening = mark == TurnMark::kOpening && Trimmed(before).empty();
      return follows_opening ? BoundaryStrength::kWord : BoundaryStrength::kSentence;
    }
    const TokenStart next = ReadTokenStart(BytesAt(end));
    if (decoder.has_pending()) return BoundaryStrength::kInsideCharacter;
    if (next.first == CharClass::kNone) return BoundaryStrength::kInsideWord;
    return Boundary(before, mark, next).Rate();
  }

  const TokenizerSpec& spec_;
  const absl::Span<const int> tokens_;
  const absl::flat_hash_set<TokenId> closing_;
};

}  // namespace

std::vector<int> ReferenceSentenceEnds(const TokenizerSpec& spec, absl::Span<const int> tokens) {
  return ReferenceSegmenter(spec, tokens).Ends();
}

}  // namespace skv::text
