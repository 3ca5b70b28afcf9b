#pragma once
// Questions to a chat model as tokens, and whether they are answered. The assistant's answer is
// begun for it: `answer_prefix`.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "text/tokenizer.h"

namespace skv::eval {

// A conversation of one message, up to the beginning of its answer. Errors of ChatTemplate.
absl::StatusOr<std::vector<TokenId>> EncodeQuestion(const text::Tokenizer& tokenizer,
                                                    const std::string& message,
                                                    const std::string& answer_prefix);

// What follows the text of an answer when the user asks on: the end of the assistant's turn, the
// message, the beginning of its answer. Errors of ChatTemplate.
absl::StatusOr<std::vector<TokenId>> EncodeFollowup(const text::Tokenizer& tokenizer,
                                                    const std::string& message,
                                                    const std::string& answer_prefix);

// Share of `outputs` that occur in `answer`, in whichever case.
double MatchAll(const std::string& answer, const std::vector<std::string>& outputs);

}  // namespace skv::eval
