#pragma once
// Cuts a stream of tokens into sentences, the units in which keys and values are cached.
//
// A sentence is kMinSentenceTokens to kMaxSentenceTokens tokens. Whether it ends before a token
// depends on the text before, on that token and on the sentence's length so far: one token of
// lookahead, and the same sentences for a prompt, whatever its chunks, and for text being
// generated. Ends are full stops (of all scripts, with the quotes and brackets that close behind
// them), blank lines, lines of code, list items and headings, and chat turns. Too short sentences
// join the next one; long ones end at a clause from 96 tokens on, at a word from 120 on, and
// anywhere at 128.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "text/sentence_context.h"
#include "text/sentence_end_rater.h"
#include "text/tokenizer_spec.h"

namespace skv::text {

inline constexpr int kMinSentenceTokens = 4;
inline constexpr int kMaxSentenceTokens = 128;

// Names the rules of this file: cached sentences of another id may be cut elsewhere. Changes with
// every change of a rule.
inline constexpr std::string_view kSegmenterId = "sentences-1";

// What the segmenter knows of each token. Immutable, shared between threads; about 100 bytes for
// each token of the vocabulary.
class SentenceSegmenter {
 public:
  // Errors of Validate(spec).
  static absl::StatusOr<std::shared_ptr<const SentenceSegmenter>> Create(const TokenizerSpec& spec);

 private:
  friend class SentenceStream;
  struct Token {
    std::string bytes;  // empty for control tokens
    TokenStart start;
  };

  explicit SentenceSegmenter(const TokenizerSpec& spec);
  // Ids outside the vocabulary stand for no text.
  const Token& token(int id) const;

  std::vector<Token> tokens_;
};

// One sequence's text so far. Copyable: samples of one prompt fork its stream. Not thread-safe.
class SentenceStream {
 public:
  explicit SentenceStream(std::shared_ptr<const SentenceSegmenter> segmenter);

  // Feeds the next token. Returns num_fed() - 1, the index of `token` and so the exclusive end of
  // the sentence before it, if `token` shows that a sentence ended there. Any id is allowed.
  std::optional<int> Feed(int token);

  int num_fed() const { return num_fed_; }
  // First token of the unfinished sentence: the last end returned, or 0.
  int sentence_begin() const { return sentence_begin_; }

 private:
  std::shared_ptr<const SentenceSegmenter> segmenter_;
  SentenceContext before_;
  int num_fed_ = 0;
  int sentence_begin_ = 0;
};

// All ends that feeding `tokens` to a new stream shows, ascending. The unfinished sentence has
// none: the last end is below tokens.size().
std::vector<int> SentenceEnds(const SentenceSegmenter& segmenter, absl::Span<const int> tokens);

}  // namespace skv::text
