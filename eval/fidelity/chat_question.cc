#include "eval/fidelity/chat_question.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "common/status.h"
#include "text/chat_template.h"

namespace skv::eval {
namespace {

// The last message's turn ends and the assistant's begins; then `answer_prefix`.
absl::StatusOr<std::vector<TokenId>> Encode(const text::Tokenizer& tokenizer,
                                            const std::vector<text::ChatMessage>& messages,
                                            const std::string& answer_prefix) {
  SKV_ASSIGN_OR_RETURN(const auto chat, text::ChatTemplate::Detect(tokenizer.spec().chat_template));
  SKV_ASSIGN_OR_RETURN(std::vector<TokenId> tokens,
                       chat.RenderToTokens(tokenizer, messages, /*add_generation_prompt=*/true));
  SKV_ASSIGN_OR_RETURN(const auto prefix, tokenizer.Encode(answer_prefix, {}));
  tokens.insert(tokens.end(), prefix.begin(), prefix.end());
  return tokens;
}

}  // namespace

absl::StatusOr<std::vector<TokenId>> EncodeQuestion(const text::Tokenizer& tokenizer,
                                                    const std::string& message,
                                                    const std::string& answer_prefix) {
  return Encode(tokenizer, {{"user", message}}, answer_prefix);
}

absl::StatusOr<std::vector<TokenId>> EncodeFollowup(const text::Tokenizer& tokenizer,
                                                    const std::string& message,
                                                    const std::string& answer_prefix) {
  // What an answer follows does not change what follows it.
  SKV_ASSIGN_OR_RETURN(const auto before, Encode(tokenizer, {{"user", "?"}}, "."));
  SKV_ASSIGN_OR_RETURN(
      std::vector<TokenId> tokens,
      Encode(tokenizer, {{"user", "?"}, {"assistant", "."}, {"user", message}}, answer_prefix));
  if (tokens.size() < before.size() || !std::equal(before.begin(), before.end(), tokens.begin())) {
    return absl::UnimplementedError(
        "chat template: an answer in a conversation is not encoded as one being written");
  }
  tokens.erase(tokens.begin(), tokens.begin() + static_cast<int64_t>(before.size()));
  return tokens;
}

double MatchAll(const std::string& answer, const std::vector<std::string>& outputs) {
  const std::string lower = absl::AsciiStrToLower(answer);
  const auto found = std::ranges::count_if(outputs, [&](const std::string& output) {
    return absl::StrContains(lower, absl::AsciiStrToLower(output));
  });
  return outputs.empty() ? 1 : static_cast<double>(found) / outputs.size();
}

}  // namespace skv::eval
