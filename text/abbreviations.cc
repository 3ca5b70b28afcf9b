#include "text/abbreviations.h"

#include <algorithm>
#include <iterator>

namespace skv::text {
namespace {

// Sorted, for binary search.
constexpr std::string_view kBeforeName[] = {
    "adm", "approx", "ca",  "capt", "cf",  "cmdr", "col",  "cpl",  "dr",     "e.g",
    "fr",  "gen",    "gov", "hon",  "i.e", "incl", "lt",   "maj",  "messrs", "mlle",
    "mme", "mr",     "mrs", "ms",   "mt",  "mx",   "pres", "prof", "rep",    "rev",
    "sen", "sgt",    "sra", "st",   "v",   "viz",  "vs",   "z.b",
};
constexpr std::string_view kBeforeNumber[] = {
    "apr", "art", "aug", "ch",  "dec", "eq",   "eqs", "feb", "fig", "figs",
    "jan", "jul", "jun", "mar", "no",  "nos",  "nov", "nr",  "oct", "op",
    "p",   "pp",  "pt",  "sec", "sep", "sept", "tab", "ver", "vol", "vols",
};
constexpr std::string_view kAnywhere[] = {
    "al",  "assn", "ave",  "bldg", "blvd", "bros", "bzw",  "co",  "corp", "dept", "ed",
    "eds", "esq",  "est",  "etc",  "ext",  "ft",   "hrs",  "hwy", "inc",  "jr",   "ltd",
    "max", "min",  "misc", "oz",   "ph.d", "rd",   "resp", "sr",  "tel",  "univ", "usw",
};
constexpr std::string_view kFirstWords[] = {
    "a",     "about",   "after", "all",     "also",    "although", "an",     "and",   "another",
    "any",   "are",     "as",    "at",      "be",      "because",  "before", "both",  "but",
    "by",    "can",     "could", "did",     "do",      "does",     "during", "each",  "every",
    "few",   "finally", "first", "for",     "from",    "had",      "has",    "have",  "he",
    "her",   "here",    "his",   "how",     "however", "i",        "if",     "in",    "instead",
    "is",    "it",      "its",   "later",   "let",     "many",     "more",   "most",  "my",
    "no",    "nobody",  "not",   "nothing", "now",     "of",       "on",     "once",  "one",
    "only",  "or",      "other", "our",     "perhaps", "please",   "she",    "since", "so",
    "some",  "soon",    "still", "such",    "that",    "the",      "their",  "then",  "there",
    "these", "they",    "this",  "those",   "though",  "thus",     "to",     "today", "under",
    "until", "we",      "were",  "what",    "when",    "where",    "which",  "while", "who",
    "why",   "will",    "with",  "within",  "without", "would",    "yes",    "yet",   "you",
    "your",
};

template <size_t n>
constexpr bool IsSorted(const std::string_view (&words)[n]) {
  return std::is_sorted(std::begin(words), std::end(words));
}
static_assert(IsSorted(kBeforeName) && IsSorted(kBeforeNumber) && IsSorted(kAnywhere) &&
              IsSorted(kFirstWords));

template <size_t n>
bool Contains(const std::string_view (&words)[n], std::string_view word) {
  return std::binary_search(std::begin(words), std::end(words), word);
}

// "u.s", "a.m": only groups of one or two characters, none of them a digit.
bool IsInitialism(std::string_view word) {
  if (word.find('.') == std::string_view::npos) return false;
  size_t group = 0;
  for (const char c : word) {
    if (c >= '0' && c <= '9') return false;
    group = c == '.' ? 0 : group + 1;
    if (group > 2) return false;
  }
  return true;
}

}  // namespace

Abbreviation FindAbbreviation(std::string_view word) {
  if (Contains(kBeforeName, word)) return Abbreviation::kBeforeName;
  if (Contains(kBeforeNumber, word)) return Abbreviation::kBeforeNumber;
  if (Contains(kAnywhere, word) || IsInitialism(word)) return Abbreviation::kAnywhere;
  return Abbreviation::kNone;
}

bool IsUsualFirstWord(std::string_view word) { return Contains(kFirstWords, word); }

}  // namespace skv::text
