#include "skv/answer_text.h"

namespace skv {

std::string AnswerText::Push(const std::vector<TokenId>& tokens) {
  std::string shown;
  for (const TokenId token : tokens) {
    if (stopped_) break;
    ++num_tokens_;
    shown += Match(detokenizer_.Push(token));
  }
  return shown;
}

std::string AnswerText::Flush() {
  if (stopped_) return "";
  // Even the last character, completed as U+FFFD, may complete a stop string.
  std::string shown = Match(detokenizer_.Flush());
  if (!stopped_) shown += matcher_.Flush();
  return shown;
}

std::string AnswerText::Match(std::string_view text) {
  text::StopMatcher::Result result = matcher_.Push(text);
  stopped_ = result.matched_stop.has_value();
  return std::move(result.text);
}

}  // namespace skv
