#include "text/tokenizer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/status.h"
#include "text/byte_alphabet.h"
#include "text/utf8.h"

namespace skv::text {
namespace {

using IdByPiece = absl::flat_hash_map<std::string_view, TokenId>;

IdByPiece IndexPieces(const TokenizerSpec& spec) {
  IdByPiece id_by_piece;
  id_by_piece.reserve(spec.tokens.size());
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    id_by_piece.emplace(spec.tokens[id], static_cast<TokenId>(id));
  }
  return id_by_piece;
}

// A character that is a control token stands for no byte: ordinary text must not become one.
std::vector<TokenId> ByteIds(const TokenizerSpec& spec, const IdByPiece& id_by_piece) {
  std::vector<TokenId> ids(256, -1);
  for (int byte = 0; byte < 256; ++byte) {
    const auto it = id_by_piece.find(ByteToCharacter(static_cast<unsigned char>(byte)));
    if (it == id_by_piece.end()) continue;
    const int32_t type = TypeOf(spec, it->second);
    if (type == kTokenNormal || type == kTokenByte) ids[byte] = it->second;
  }
  return ids;
}

std::vector<MergeRule> MergeRules(const TokenizerSpec& spec, const IdByPiece& id_by_piece) {
  std::vector<MergeRule> rules;
  rules.reserve(spec.merges.size());
  std::string result;
  for (const std::string& merge : spec.merges) {
    const std::string_view pair = merge;
    const size_t space = pair.find(' ');
    const std::string_view left = pair.substr(0, space), right = pair.substr(space + 1);
    result.assign(left).append(right);
    rules.push_back({id_by_piece.at(left), id_by_piece.at(right), id_by_piece.at(result)});
  }
  return rules;
}

BytePairMerger MakeMerger(const TokenizerSpec& spec) {
  const IdByPiece id_by_piece = IndexPieces(spec);
  return BytePairMerger(ByteIds(spec, id_by_piece), MergeRules(spec, id_by_piece));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Create(TokenizerSpec spec) {
  SKV_RETURN_IF_ERROR(Validate(spec));
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(spec)));
}

// REQUIRES: Validate(spec) is OK.
Tokenizer::Tokenizer(TokenizerSpec spec)
    : spec_(std::move(spec)),
      pre_tokenizer_(*PreTokenizerKindFromName(spec_.pre)),
      merger_(MakeMerger(spec_)) {
  IndexTokens();
  IndexWholeWords();
}

void Tokenizer::IndexTokens() {
  std::array<bool, 256> has_token{};
  token_bytes_.resize(spec_.tokens.size());
  for (size_t idx = 0; idx < spec_.tokens.size(); ++idx) {
    const std::string& piece = spec_.tokens[idx];
    const auto id = static_cast<TokenId>(idx);
    const int32_t type = TypeOf(spec_, idx);
    token_bytes_[idx] = BytesOfToken(spec_, id);
    if (type == kTokenNormal || type == kTokenByte) {
      if (token_bytes_[idx].size() == 1) {
        has_token[static_cast<unsigned char>(token_bytes_[idx][0])] = true;
      }
    } else if (type != kTokenUnused) {
      special_tokens_.Add(piece, id, /*is_control=*/type != kTokenUserDefined);
    }
    max_token_bytes_ = std::max({max_token_bytes_, piece.size(), token_bytes_[idx].size()});
  }
  end_ids_ = EndOfGenerationIds(spec_);
  all_bytes_have_tokens_ =
      std::all_of(has_token.begin(), has_token.end(), [](bool b) { return b; });
}

void Tokenizer::IndexWholeWords() {
  // Llama 3 takes a word that is in the vocabulary whole, whatever the merges say.
  const bool ignores_merges = pre_tokenizer_ == PreTokenizerKind::kLlama3;
  BytePairMerger::Scratch scratch;
  std::vector<TokenId> ids;
  for (size_t idx = 0; idx < token_bytes_.size(); ++idx) {
    const auto id = static_cast<TokenId>(idx);
    if (TypeOf(spec_, idx) != kTokenNormal || !PieceToBytes(spec_.tokens[idx])) continue;
    ids.clear();
    if (!ignores_merges) merger_.Encode(token_bytes_[idx], &scratch, &ids);
    if (ignores_merges || (ids.size() == 1 && ids[0] == id)) {
      id_by_whole_word_.emplace(token_bytes_[idx], id);
    }
  }
}

absl::Status Tokenizer::EncodeFragment(std::string_view fragment, BytePairMerger::Scratch* scratch,
                                       std::vector<TokenId>* ids) const {
  std::string repaired;
  if (FindInvalidUtf8(fragment) != std::string_view::npos) {
    repaired = ReadLeniently(fragment);
    fragment = repaired;
  }
  WordSplitter splitter(pre_tokenizer_, fragment);
  std::string_view word;
  while (splitter.Next(&word)) {
    if (const auto it = id_by_whole_word_.find(word); it != id_by_whole_word_.end()) {
      ids->push_back(it->second);
      continue;
    }
    if (word.size() > BytePairMerger::kMaxWordBytes) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "text: a word of %u bytes without a break, at most %u are tokenised; send less text",
          word.size(), BytePairMerger::kMaxWordBytes));
    }
    merger_.Encode(word, scratch, ids);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TokenId>> Tokenizer::Encode(std::string_view text,
                                                       EncodeOptions options) const {
  if (text.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "text: %u bytes, at most %u are tokenised; send less text", text.size(), kMaxTextBytes));
  }
  std::vector<TokenId> ids;
  if (options.add_bos && spec_.add_bos) ids.push_back(spec_.bos_id);
  BytePairMerger::Scratch scratch;
  size_t pos = 0;
  for (const auto& match : special_tokens_.FindAll(text, options.parse_special)) {
    SKV_RETURN_IF_ERROR(EncodeFragment(text.substr(pos, match.begin - pos), &scratch, &ids));
    ids.push_back(match.id);
    pos = match.end;
  }
  SKV_RETURN_IF_ERROR(EncodeFragment(text.substr(pos), &scratch, &ids));
  return ids;
}

size_t Tokenizer::MinTokens(size_t num_text_bytes) const {
  return all_bytes_have_tokens_ ? (num_text_bytes + max_token_bytes_ - 1) / max_token_bytes_ : 0;
}

size_t Tokenizer::MaxBytes(int64_t num_tokens) const {
  size_t longest = 1;
  for (TokenId id = 0; id < vocab_size(); ++id) longest = std::max(longest, TokenBytes(id).size());
  return static_cast<size_t>(num_tokens) * longest;
}

std::string_view Tokenizer::TokenBytes(TokenId id) const {
  return IsValid(id) ? std::string_view(token_bytes_[id]) : std::string_view();
}

bool Tokenizer::IsControl(TokenId id) const {
  if (!IsValid(id)) return false;
  const int32_t type = TypeOf(spec_, id);
  return type == kTokenControl || type == kTokenUnknown;
}

}  // namespace skv::text
