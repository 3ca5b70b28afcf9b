#pragma once
// How good a place for a cut a token boundary is: from the text before it and the one token behind
// it, and from nothing else, so that the answer is the same however a text came here.

#include <cstdint>
#include <string_view>

#include "text/sentence_characters.h"
#include "text/sentence_context.h"

namespace skv::text {

enum class BoundaryStrength : uint8_t {
  kInsideCharacter,  // of a character in several tokens, or before its combining mark
  kInsideWord,       // or before white space, which belongs to the sentence before it
  kWord,
  kClause,    // behind a comma, colon, semicolon or dash, or a stop that does not end
  kSentence,  // a sentence, line of code, list item, paragraph or chat turn ends
};

// What a token shows of the text behind the boundary that it follows.
struct TokenStart {
  TurnMark turn_mark = TurnMark::kNone;
  bool has_space = false;              // white space before its first character
  int num_newlines = 0;                // line breaks before its first character
  CharClass first = CharClass::kNone;  // its first character; kNone if it is blank or empty
  bool is_usual_first_word = false;    // it starts with a word that many sentences start with
};

// Of a token that stands for `bytes`, which may be any.
TokenStart ReadTokenStart(std::string_view bytes);

// `before` is the text before the boundary, `next` the token behind it.
BoundaryStrength RateBoundary(const SentenceContext& before, const TokenStart& next);

}  // namespace skv::text
