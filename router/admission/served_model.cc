#include "router/admission/served_model.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
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

// Null: the group's prompts reuse nothing, or are cut into sentences in another way than here, as
// in the middle of an upgrade.
absl::StatusOr<std::shared_ptr<const text::SentenceSegmenter>> MakeSegmenter(
    const ModelInfo& info, const text::TokenizerSpec& spec) {
  if (!info.prefix_naming.has_value()) return nullptr;
  if (info.prefix_naming->segmenter_id == text::kSegmenterId) {
    return text::SentenceSegmenter::Create(spec);
  }
  SKV_LOG(WARNING) << "model " << info.name << " is placed by load alone: its workers cut sentences"
                   << " by \"" << info.prefix_naming->segmenter_id << "\", this router by \""
                   << text::kSegmenterId << "\"";
  return nullptr;
}

// Of each prompt, with the policy at that place of the list. The peer is not trusted: any number.
int ComputedTokens(const PrefixNaming& naming, size_t policy_idx) {
  const std::vector<int32_t>& computed = naming.computed_tokens;
  return policy_idx < computed.size() ? std::max(1, computed[policy_idx]) : 1;
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
  SKV_ASSIGN_OR_RETURN(auto segmenter, MakeSegmenter(info, (*tokenizer)->spec()));
  return std::shared_ptr<const ServedModel>(
      new ServedModel(std::move(info), *std::move(tokenizer), std::move(segmenter)));
}

ServedModel::ServedModel(ModelInfo info, std::unique_ptr<text::Tokenizer> tokenizer,
                         std::shared_ptr<const text::SentenceSegmenter> segmenter)
    : name_(std::move(info.name)),
      fingerprint_(std::move(info.fingerprint)),
      tokenizer_(std::move(tokenizer)),
      chat_template_(text::ChatTemplate::Detect(tokenizer_->spec().chat_template)),
      limits_{info.context_length, info.vocab_size, tokenizer_->MaxBytes(info.context_length),
              std::move(info.kv_policies)},
      prefix_naming_(std::move(info.prefix_naming)),
      segmenter_(std::move(segmenter)) {}

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

PrefixChain ServedModel::PrefixOf(const GroupRequest& request) const {
  PrefixChain chain;
  if (segmenter_ == nullptr) return chain;
  const std::vector<std::string>& policies = prefix_naming_->kv_policies;
  const auto policy = std::ranges::find(policies, request.kv_policy.name);
  if (policy == policies.end()) return chain;
  const PrefixKey root = RootKey({.tenant_salt = request.cache_salt,
                                  .model_name = prefix_naming_->model_name,
                                  .model_revision = prefix_naming_->model_revision,
                                  .segmenter_id = prefix_naming_->segmenter_id});
  chain.ends = text::SentenceEnds(*segmenter_, request.prompt_ids);
  chain.keys = PrefixKeys(root, request.prompt_ids, chain.ends);
  chain.max_cached_tokens = static_cast<int>(request.prompt_ids.size()) -
                            ComputedTokens(*prefix_naming_, policy - policies.begin());
  return chain;
}

std::shared_ptr<const text::TokenText> ServedModel::TextOf(const Prompt& prompt,
                                                           const std::vector<TokenId>& ids) const {
  if (!std::holds_alternative<TextPrompt>(prompt)) {
    return std::make_shared<text::TokenText>(*tokenizer_, ids);
  }
  return std::make_shared<text::TokenText>(text::TokenText::OfEncoded(*tokenizer_, ids));
}

}  // namespace skv::router
