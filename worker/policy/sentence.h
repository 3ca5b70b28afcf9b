#pragma once
// The sentences of one sequence, as its tokens so far tell them.

#include <algorithm>
#include <span>

namespace skv::policy {

// Positions [begin, end) of a sequence. Its end is proven by the token at position `known_at` (>=
// end - 1): only queries at known_at and later may know of it, so that what a query selects depends
// on the tokens up to its own, however many follow in the same step.
struct Sentence {
  int begin;
  int end;
  int known_at;
  bool operator==(const Sentence&) const = default;
};

// Those that the tokens up to `position` prove; known_at does not fall.
inline std::span<const Sentence> KnownSentences(std::span<const Sentence> sentences, int position) {
  const auto end = std::ranges::upper_bound(sentences, position, {}, &Sentence::known_at);
  return sentences.first(end - sentences.begin());
}

}  // namespace skv::policy
