#include "router/admission/served_model.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::router {
namespace {

constexpr int64_t kMaxContextLength = 1 << 24;

std::vector<text::ChatMessage> ToTextMessages(const ChatPrompt& prompt) {
  std::vector<text::ChatMessage> messages;
  messages.reserve(prompt.messages.size());
  for (const ChatMessage& message : prompt.messages) {
    messages.push_back({message.role, message.content});
  }
  return messages;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ServedModel>> ServedModel::Create(ModelInfo info) {
  const int64_t num_tokens = static_cast<int64_t>(info.tokenizer.tokens.size());
  if (info.name.empty() || info.context_length < 2 || info.context_length > kMaxContextLength ||
      info.vocab_size < 1 || info.vocab_size != num_tokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("model info: got name \"", info.name, "\", context length ",
                     info.context_length, ", vocabulary ", info.vocab_size, " with ", num_tokens,
                     " tokenizer entries; expected a name, a context of 2 to ", kMaxContextLength,
                     " and equal vocabulary sizes"));
  }
  SKV_RETURN_IF_ERROR(Annotate(ValidateOffer(info.kv_policies), "model info"));
  absl::StatusOr<std::unique_ptr<text::Tokenizer>> tokenizer =
      text::Tokenizer::Create(std::move(info.tokenizer));
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), "tokenizer of the worker");
  return std::shared_ptr<const ServedModel>(
      new ServedModel(std::move(info), *std::move(tokenizer)));
}

ServedModel::ServedModel(ModelInfo info, std::unique_ptr<text::Tokenizer> tokenizer)
    : name_(std::move(info.name)),
      fingerprint_(std::move(info.fingerprint)),
      tokenizer_(std::move(tokenizer)),
      chat_template_(text::ChatTemplate::Detect(tokenizer_->spec().chat_template)),
      limits_{info.context_length, info.vocab_size, tokenizer_->MaxBytes(info.context_length),
              std::move(info.kv_policies)} {}

absl::StatusOr<std::vector<TokenId>> ServedModel::Encode(const Prompt& prompt,
                                                         bool parse_special) const {
  if (const auto* tokens = std::get_if<TokenPrompt>(&prompt)) {
    return std::vector<TokenId>(tokens->ids.begin(), tokens->ids.end());
  }
  if (const auto* chat = std::get_if<ChatPrompt>(&prompt)) {
    if (!chat_template_.ok()) {
      return absl::UnimplementedError(absl::StrCat("chat: model \"", name_, "\" has no known chat ",
                                                   "format (", chat_template_.status().message(),
                                                   "); send text or token_ids"));
    }
    return chat_template_->RenderToTokens(*tokenizer_, ToTextMessages(*chat), true);
  }
  const auto& text = std::get<TextPrompt>(prompt);
  return tokenizer_->Encode(text.text, {.parse_special = parse_special, .add_bos = true});
}

std::shared_ptr<const text::TokenText> ServedModel::TextOf(const Prompt& prompt,
                                                           const std::vector<TokenId>& ids) const {
  if (!std::holds_alternative<TextPrompt>(prompt)) {
    return std::make_shared<text::TokenText>(*tokenizer_, ids);
  }
  return std::make_shared<text::TokenText>(text::TokenText::OfEncoded(*tokenizer_, ids));
}

}  // namespace skv::router
