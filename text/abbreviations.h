#pragma once
// Words whose period need not end a sentence.

#include <cstdint>
#include <string_view>

namespace skv::text {

enum class Abbreviation : uint8_t {
  kNone,
  kBeforeName,    // "Dr.", "e.g.": the sentence goes on, always
  kBeforeNumber,  // "No. 5", "Jan. 12": it goes on when a digit follows
  kAnywhere,      // "etc.", "Inc.", "U.S.": it goes on unless the next word is a usual first word
};

// `word` is in lower case and without its last period: "dr", "e.g", "u.s". Words of one or two
// letters between periods are abbreviations whether listed or not. Thread-safe.
Abbreviation FindAbbreviation(std::string_view word);

// Whether many English sentences start with `word` ("the", "he"), given in lower case. Thread-safe.
bool IsUsualFirstWord(std::string_view word);

}  // namespace skv::text
