#pragma once
// The sentences of one sequence, found as its tokens come: those of the prompt and those that it
// generates. A copy goes on by itself. Engine thread only.

#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "common/types.h"
#include "text/sentence_segmenter.h"
#include "worker/policy/sentence.h"

namespace skv::engine {

class SentenceTracker {
 public:
  explicit SentenceTracker(std::shared_ptr<const text::SentenceSegmenter> segmenter)
      : stream_(std::move(segmenter)) {}

  // The sequence's next tokens, in order.
  void Feed(absl::Span<const TokenId> tokens);

  // Positions fed so far.
  int num_tokens() const { return stream_.num_fed(); }
  // In order, each beginning where the one before it ends; the unfinished one is not among them.
  const std::vector<policy::Sentence>& sentences() const { return sentences_; }
  // First position of the sentence that the token at `position` belongs to, as far as the tokens up
  // to it tell. REQUIRES: position < num_tokens()
  int SentenceBegin(int position) const;

 private:
  text::SentenceStream stream_;
  std::vector<policy::Sentence> sentences_;
};

}  // namespace skv::engine
