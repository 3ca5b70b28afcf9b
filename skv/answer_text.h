#pragma once
// An answer's tokens turned into text, up to a stop string.

#include <memory>
#include <string>
#include <vector>

#include "common/types.h"
#include "text/detokenizer.h"
#include "text/stop_matcher.h"
#include "text/tokenizer.h"

namespace skv {

// Not thread-safe; one per answer.
class AnswerText {
 public:
  // `tokenizer` outlives this object.
  AnswerText(const text::Tokenizer* tokenizer, std::shared_ptr<const text::StopSet> stops)
      : detokenizer_(tokenizer, {}), matcher_(std::move(stops)) {}

  // The text that may be shown after `tokens`. What follows a stop string is dropped.
  std::string Push(const std::vector<TokenId>& tokens);
  // Ends the answer: the text that was held back.
  std::string Flush();

  // A stop string has ended the answer.
  bool stopped() const { return stopped_; }
  int num_tokens() const { return num_tokens_; }  // up to the end of a stop string

 private:
  std::string Match(std::string_view text);

  text::IncrementalDetokenizer detokenizer_;
  text::StopMatcher matcher_;
  bool stopped_ = false;
  int num_tokens_ = 0;
};

}  // namespace skv
