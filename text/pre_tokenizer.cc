#include "text/pre_tokenizer.h"

#include <unicode/uchar.h>

#include "text/utf8.h"

namespace skv::text {
namespace {

enum class CharClass { kEnd, kSpace, kLetter, kNumber, kOther };

bool IsWhiteSpace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool IsAsciiDigit(char c) { return c >= '0' && c <= '9'; }

CharClass Classify(char32_t c) {
  if (IsWhiteSpace(c)) return CharClass::kSpace;
  if (c < 0x80) {
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') return CharClass::kLetter;
    return c >= '0' && c <= '9' ? CharClass::kNumber : CharClass::kOther;
  }
  const uint32_t category = U_GET_GC_MASK(static_cast<UChar32>(c));
  if (category & U_GC_L_MASK) return CharClass::kLetter;
  return category & U_GC_N_MASK ? CharClass::kNumber : CharClass::kOther;
}

struct Character {
  char32_t value;
  CharClass char_class;  // kEnd at or after the end
  size_t end;            // offset behind it
};

Character CharacterAt(std::string_view text, size_t pos) {
  if (pos >= text.size()) return {0, CharClass::kEnd, pos};
  const CodePoint code_point = DecodeAt(text, pos);
  return {code_point.value, Classify(code_point.value), pos + code_point.num_bytes};
}

size_t SkipClass(std::string_view text, size_t pos, CharClass char_class) {
  for (Character c = CharacterAt(text, pos); c.char_class == char_class;
       c = CharacterAt(text, pos)) {
    pos = c.end;
  }
  return pos;
}

char AsciiLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

// Offset behind 's, 't, 're, 've, 'm, 'll or 'd at `pos`; `pos` itself if none is there.
size_t SkipContraction(std::string_view text, size_t pos, bool ignore_case) {
  if (text[pos] != '\'') return pos;
  const auto letter = [&](size_t offset) -> char {
    if (pos + offset >= text.size()) return 0;
    return ignore_case ? AsciiLower(text[pos + offset]) : text[pos + offset];
  };
  const char first = letter(1), second = letter(2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return pos + 2;
  if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
      (first == 'l' && second == 'l')) {
    return pos + 3;
  }
  // U+017F, the long s, is an s to a pattern that ignores case.
  constexpr std::string_view kLongS = "\xC5\xBF";
  if (ignore_case && text.substr(pos + 1, kLongS.size()) == kLongS) return pos + 1 + kLongS.size();
  return pos;
}

// \s+(?!\S)|\s+ : leaves the last white space to the word behind it, unless it is the only one.
size_t SkipSpaces(std::string_view text, size_t pos) {
  size_t last_begin = pos, end = pos;
  for (Character c = CharacterAt(text, pos); c.char_class == CharClass::kSpace;
       c = CharacterAt(text, end)) {
    last_begin = end;
    end = c.end;
  }
  return last_begin > pos && end < text.size() ? last_begin : end;
}

// \s*[\r\n]+ ; `pos` itself if no line break is among the white space.
size_t SkipThroughLastLineBreak(std::string_view text, size_t pos) {
  size_t result = pos, end = pos;
  for (Character c = CharacterAt(text, pos); c.char_class == CharClass::kSpace;
       c = CharacterAt(text, end)) {
    end = c.end;
    if (c.value == '\r' || c.value == '\n') result = end;
  }
  return result;
}

size_t Gpt2WordEnd(std::string_view text, size_t pos) {
  if (const size_t end = SkipContraction(text, pos, /*ignore_case=*/false); end > pos) return end;
  const size_t begin = pos + (text[pos] == ' ' ? 1 : 0);
  const CharClass char_class = CharacterAt(text, begin).char_class;
  if (char_class != CharClass::kSpace && char_class != CharClass::kEnd) {
    return SkipClass(text, begin, char_class);
  }
  return SkipSpaces(text, pos);
}

size_t Llama3WordEnd(std::string_view text, size_t pos) {
  if (const size_t end = SkipContraction(text, pos, /*ignore_case=*/true); end > pos) return end;
  const Character first = CharacterAt(text, pos);
  if (first.char_class == CharClass::kNumber) {
    size_t end = first.end;
    for (int i = 1; i < 3; ++i) {
      const Character c = CharacterAt(text, end);
      if (c.char_class == CharClass::kNumber) end = c.end;
    }
    return end;
  }
  const bool is_line_break = first.value == '\r' || first.value == '\n';
  if (first.char_class == CharClass::kLetter ||
      (!is_line_break && CharacterAt(text, first.end).char_class == CharClass::kLetter)) {
    return SkipClass(text, first.end, CharClass::kLetter);
  }
  const size_t begin = first.value == ' ' ? first.end : pos;
  if (CharacterAt(text, begin).char_class == CharClass::kOther) {
    size_t end = SkipClass(text, begin, CharClass::kOther);
    while (end < text.size() && (text[end] == '\r' || text[end] == '\n')) ++end;
    return end;
  }
  if (const size_t end = SkipThroughLastLineBreak(text, pos); end > pos) return end;
  return SkipSpaces(text, pos);
}

// [\p{P}$+<=>^~|], what kDefault sets apart first.
bool IsSetApart(char32_t c) {
  if (c < 0x80 &&
      std::string_view("$+<=>^~|").find(static_cast<char>(c)) != std::string_view::npos) {
    return true;
  }
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_P_MASK) != 0;
}

size_t SetApartRunEnd(std::string_view text, size_t pos) {
  const bool is_set_apart = IsSetApart(DecodeAt(text, pos).value);
  while (pos < text.size()) {
    const CodePoint c = DecodeAt(text, pos);
    if (IsSetApart(c.value) != is_set_apart) break;
    pos += c.num_bytes;
  }
  return pos;
}

bool HasThreeDigits(std::string_view text, size_t pos) {
  return pos + 3 <= text.size() && IsAsciiDigit(text[pos]) && IsAsciiDigit(text[pos + 1]) &&
         IsAsciiDigit(text[pos + 2]);
}

// A word of kGpt2 that holds numbers is " 12345" or "12345": the space, then groups of three.
size_t NumberPartEnd(std::string_view word, size_t pos) {
  if (word[pos] == ' ')
    return CharacterAt(word, pos + 1).char_class == CharClass::kNumber ? pos + 1 : word.size();
  if (CharacterAt(word, pos).char_class != CharClass::kNumber) return word.size();
  if (HasThreeDigits(word, pos)) return pos + 3;
  while (pos < word.size() && !HasThreeDigits(word, pos)) ++pos;
  return pos;
}

}  // namespace

std::optional<PreTokenizerKind> PreTokenizerKindFromName(std::string_view name) {
  if (name == "smollm") return PreTokenizerKind::kSmolLm;
  if (name == "llama-bpe" || name == "llama3" || name == "llama-v3")
    return PreTokenizerKind::kLlama3;
  if (name == "gpt-2") return PreTokenizerKind::kGpt2;
  if (name == "default" || name.empty()) return PreTokenizerKind::kDefault;
  return std::nullopt;
}

size_t WordSplitter::NextEndOfSmolLm() {
  if (pos_ == segment_end_) {
    const Character c = CharacterAt(text_, pos_);
    if (c.char_class == CharClass::kNumber) return segment_end_ = c.end;
    for (Character next = c;
         next.char_class != CharClass::kEnd && next.char_class != CharClass::kNumber;
         next = CharacterAt(text_, segment_end_)) {
      segment_end_ = next.end;
    }
  }
  return Gpt2WordEnd(text_.substr(0, segment_end_), pos_);
}

size_t WordSplitter::NextEndOfDefault() {
  if (pos_ == segment_end_) segment_end_ = SetApartRunEnd(text_, pos_);
  if (pos_ == word_end_) word_end_ = Gpt2WordEnd(text_.substr(0, segment_end_), pos_);
  return NumberPartEnd(text_.substr(0, word_end_), pos_);
}

size_t WordSplitter::NextEnd() {
  switch (kind_) {
    case PreTokenizerKind::kGpt2:
      return Gpt2WordEnd(text_, pos_);
    case PreTokenizerKind::kSmolLm:
      return NextEndOfSmolLm();
    case PreTokenizerKind::kLlama3:
      return Llama3WordEnd(text_, pos_);
    case PreTokenizerKind::kDefault:
      return NextEndOfDefault();
  }
  return text_.size();
}

bool WordSplitter::Next(std::string_view* word) {
  if (pos_ == text_.size()) return false;
  const size_t end = NextEnd();
  *word = text_.substr(pos_, end - pos_);
  pos_ = end;
  return true;
}

}  // namespace skv::text
