#include "worker/loader/tokenizer_spec_loader.h"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::loader {
namespace {

constexpr std::string_view kTokensKey = "tokenizer.ggml.tokens";

// Sizes are checked before anything is copied.
absl::Status ReadStrings(const GgufFile& file, std::string_view key, size_t max_count,
                         std::vector<std::string>* out) {
  SKV_ASSIGN_OR_RETURN(const std::vector<std::string_view> views, file.metadata().Strings(key));
  if (views.size() > max_count) {
    return absl::DataLossError(absl::StrCat(file.name(), ": metadata key ", Sv(key), ": ",
                                            views.size(), " entries, expected at most ",
                                            max_count));
  }
  // A merge is two pieces and a space.
  constexpr size_t kMaxBytes = 2 * text::kMaxTokenPieceBytes + 1;
  for (size_t i = 0; i < views.size(); ++i) {
    if (views[i].size() <= kMaxBytes) continue;
    return absl::DataLossError(absl::StrCat(file.name(), ": metadata key ", Sv(key), ": entry ", i,
                                            " has ", views[i].size(), " bytes, expected at most ",
                                            kMaxBytes));
  }
  out->assign(views.begin(), views.end());
  return absl::OkStatus();
}

absl::Status ReadId(const GgufFile& file, std::string_view key, TokenId* out) {
  if (!file.metadata().Has(key)) return absl::OkStatus();
  SKV_ASSIGN_OR_RETURN(const uint64_t id, file.metadata().Uint(key));
  if (id > static_cast<uint64_t>(std::numeric_limits<TokenId>::max())) {
    return absl::DataLossError(absl::StrCat(file.name(), ": metadata key ", Sv(key), ": is ", id,
                                            ", expected a token id"));
  }
  *out = static_cast<TokenId>(id);
  return absl::OkStatus();
}

absl::Status ReadIds(const GgufFile& file, text::TokenizerSpec* spec) {
  SKV_RETURN_IF_ERROR(ReadId(file, "tokenizer.ggml.bos_token_id", &spec->bos_id));
  SKV_RETURN_IF_ERROR(ReadId(file, "tokenizer.ggml.eos_token_id", &spec->eos_id));
  SKV_RETURN_IF_ERROR(ReadId(file, "tokenizer.ggml.eot_token_id", &spec->eot_id));
  SKV_RETURN_IF_ERROR(ReadId(file, "tokenizer.ggml.unknown_token_id", &spec->unk_id));
  return ReadId(file, "tokenizer.ggml.padding_token_id", &spec->pad_id);
}

absl::Status ReadVocabulary(const GgufFile& file, text::TokenizerSpec* spec) {
  SKV_RETURN_IF_ERROR(ReadStrings(file, kTokensKey, text::kMaxVocabSize, &spec->tokens));
  const TensorView* embedding = file.FindTensor("token_embd.weight");
  if (embedding != nullptr && embedding->dims[1] != static_cast<int64_t>(spec->tokens.size())) {
    return absl::DataLossError(absl::StrCat(file.name(), ": metadata key ", Sv(kTokensKey), ": ",
                                            spec->tokens.size(), " entries, expected ",
                                            embedding->dims[1], ", the rows of token_embd.weight"));
  }
  constexpr std::string_view kTypesKey = "tokenizer.ggml.token_type";
  if (file.metadata().Has(kTypesKey)) {
    SKV_ASSIGN_OR_RETURN(spec->token_types, file.metadata().Int32s(kTypesKey));
  }
  constexpr std::string_view kMergesKey = "tokenizer.ggml.merges";
  if (!file.metadata().Has(kMergesKey)) return absl::OkStatus();
  return ReadStrings(file, kMergesKey, text::kMaxMerges, &spec->merges);
}

// Files of the Llama 3 family leave the key out and mean yes.
bool AddsBosByDefault(const text::TokenizerSpec& spec) {
  return spec.bos_id >= 0 &&
         (spec.pre == "llama-bpe" || spec.pre == "llama3" || spec.pre == "llama-v3");
}

absl::Status ReadOptions(const GgufFile& file, text::TokenizerSpec* spec) {
  const GgufMetadata& metadata = file.metadata();
  SKV_ASSIGN_OR_RETURN(spec->add_bos,
                       metadata.BoolOr("tokenizer.ggml.add_bos_token", AddsBosByDefault(*spec)));
  SKV_ASSIGN_OR_RETURN(spec->add_space_prefix,
                       metadata.BoolOr("tokenizer.ggml.add_space_prefix", false));
  SKV_ASSIGN_OR_RETURN(const std::string_view chat_template,
                       metadata.StringOr("tokenizer.chat_template", ""));
  if (chat_template.size() > text::kMaxChatTemplateBytes) {
    return absl::DataLossError(
        absl::StrCat(file.name(), ": metadata key tokenizer.chat_template: ", chat_template.size(),
                     " bytes, expected at most ", text::kMaxChatTemplateBytes));
  }
  spec->chat_template = chat_template;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<text::TokenizerSpec> ReadTokenizerSpec(const GgufFile& file) {
  const GgufMetadata& metadata = file.metadata();
  constexpr std::string_view kModelKey = "tokenizer.ggml.model";
  if (!metadata.Has(kModelKey) || !metadata.Has(kTokensKey)) {
    return absl::NotFoundError(
        absl::StrCat(file.name(), ": has no tokenizer: metadata key ",
                     Sv(metadata.Has(kModelKey) ? kTokensKey : kModelKey),
                     " is missing; expected a file converted with its tokenizer"));
  }
  text::TokenizerSpec spec;
  SKV_ASSIGN_OR_RETURN(spec.model, metadata.String(kModelKey));
  SKV_ASSIGN_OR_RETURN(spec.pre, metadata.StringOr("tokenizer.ggml.pre", "default"));
  SKV_RETURN_IF_ERROR(ReadIds(file, &spec));
  SKV_RETURN_IF_ERROR(ReadVocabulary(file, &spec));
  SKV_RETURN_IF_ERROR(ReadOptions(file, &spec));
  absl::Status status = text::Validate(spec);
  // Here a bad entry is a bad file, not a bad request.
  if (absl::IsInvalidArgument(status)) status = absl::DataLossError(status.message());
  SKV_RETURN_IF_ERROR(Annotate(status, file.name()));
  return spec;
}

}  // namespace skv::loader
