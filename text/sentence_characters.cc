#include "text/sentence_characters.h"

#include <unicode/uchar.h>

#include <array>

namespace skv::text {
namespace {

bool IsOneOf(char32_t c, std::u32string_view set) {
  return set.find(c) != std::u32string_view::npos;
}

bool IsWide(char32_t c) { return (c >= 0x3000 && c <= 0x303F) || (c >= 0xFF00 && c <= 0xFFEF); }

CharClass ClassOfPunctuation(char32_t c, uint32_t category) {
  const auto icu_char = static_cast<UChar32>(c);
  if (u_hasBinaryProperty(icu_char, UCHAR_S_TERM)) {
    return IsWide(c) ? CharClass::kWideStop : CharClass::kStop;
  }
  if (u_hasBinaryProperty(icu_char, UCHAR_TERMINAL_PUNCTUATION)) return CharClass::kClause;
  if (category & (U_GC_PS_MASK | U_GC_PI_MASK)) return CharClass::kOpener;
  if (category & (U_GC_PE_MASK | U_GC_PF_MASK)) return CharClass::kCloser;
  return CharClass::kOther;
}

CharClass LookUp(char32_t c) {
  if (IsOneOf(c, U"\n\v\f\x85\u2028\u2029")) return CharClass::kNewline;
  if (c == '.') return CharClass::kPeriod;
  if (c == U'\u2026') return CharClass::kEllipsis;
  if (IsOneOf(c, U"\"'")) return CharClass::kQuote;
  if (IsOneOf(c, U"*_`")) return CharClass::kEmphasis;
  if (IsOneOf(c, U"-+#|\u2022\u2023\u25AA\u25CF\u25E6")) return CharClass::kBullet;
  if (IsOneOf(c, U"\u2013\u2014\u3001")) return CharClass::kClause;
  if (u_isUWhiteSpace(static_cast<UChar32>(c))) return CharClass::kSpace;
  const uint32_t category = U_GET_GC_MASK(static_cast<UChar32>(c));
  if (category & (U_GC_M_MASK | U_GC_CF_MASK)) return CharClass::kMark;
  if (category & U_GC_LL_MASK) return CharClass::kLower;
  if (category & (U_GC_LU_MASK | U_GC_LT_MASK)) return CharClass::kUpper;
  if (category & U_GC_L_MASK) return CharClass::kLetter;
  if (category & U_GC_N_MASK) return CharClass::kDigit;
  return ClassOfPunctuation(c, category);
}

}  // namespace

CharClass ClassOf(char32_t c) {
  static const auto ascii = [] {
    std::array<CharClass, 128> table;
    for (char32_t i = 0; i < table.size(); ++i) table[i] = LookUp(i);
    return table;
  }();
  return c < ascii.size() ? ascii[c] : LookUp(c);
}

CharClass ClassOfUnfinished(std::string_view first_bytes) {
  // General punctuation (E2 80), CJK punctuation (E3 80), full-width forms (EF BC, EF BD). A lone
  // E3 is more often Japanese letters.
  for (const std::string_view prefix : {"\xE2\x80", "\xE3\x80", "\xEF\xBC", "\xEF\xBD"}) {
    if (first_bytes == prefix) return CharClass::kCloser;
  }
  return first_bytes == "\xE2" || first_bytes == "\xEF" ? CharClass::kCloser : CharClass::kLetter;
}

}  // namespace skv::text
