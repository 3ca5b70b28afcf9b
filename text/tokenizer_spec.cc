#include "text/tokenizer_spec.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "common/status.h"
#include "text/byte_alphabet.h"
#include "text/pre_tokenizer.h"
#include "text/utf8.h"

namespace skv::text {
namespace {

using TypeByPiece = absl::flat_hash_map<std::string_view, int32_t>;

// Control tokens with these names end a generation even where the file names only one of them.
constexpr std::array<std::string_view, 5> kEndTokenNames = {
    "<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>"};

constexpr size_t kMaxQuotedBytes = 64;

// A piece for an error message: short, printable, quoted.
std::string Quote(std::string_view piece) {
  const std::string_view head = piece.substr(0, kMaxQuotedBytes);
  return absl::StrFormat("\"%s\"%s", absl::CHexEscape(Sv(head)),
                         head.size() < piece.size() ? "..." : "");
}

bool IsOrdinary(int32_t type) {
  return type != kTokenControl && type != kTokenUnknown && type != kTokenUnused;
}

absl::Status CheckKinds(const TokenizerSpec& spec) {
  if (spec.model != "gpt2") {
    return absl::UnimplementedError(absl::StrFormat(
        "tokenizer: model %s, only \"gpt2\" (byte-level BPE) is supported", Quote(spec.model)));
  }
  if (!PreTokenizerKindFromName(spec.pre)) {
    return absl::UnimplementedError(
        absl::StrFormat("tokenizer: pre-tokeniser %s, supported are \"smollm\", \"llama-bpe\", "
                        "\"gpt-2\" and \"default\"",
                        Quote(spec.pre)));
  }
  return absl::OkStatus();
}

absl::Status CheckSizes(const TokenizerSpec& spec) {
  const struct {
    const char* what;
    size_t size, min, max;
  } kLimits[] = {
      {"tokens", spec.tokens.size(), 1, kMaxVocabSize},
      {"merges", spec.merges.size(), 0, kMaxMerges},
      {"bytes of chat template", spec.chat_template.size(), 0, kMaxChatTemplateBytes},
  };
  for (const auto& limit : kLimits) {
    if (limit.size < limit.min || limit.size > limit.max) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "tokenizer: %u %s, expected %u to %u", limit.size, limit.what, limit.min, limit.max));
    }
  }
  if (!spec.token_types.empty() && spec.token_types.size() != spec.tokens.size()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("tokenizer: %u token types for %u tokens, expected one each or none",
                        spec.token_types.size(), spec.tokens.size()));
  }
  return absl::OkStatus();
}

absl::Status CheckTokens(const TokenizerSpec& spec, TypeByPiece* pieces) {
  pieces->reserve(spec.tokens.size());
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    const std::string& piece = spec.tokens[id];
    const int32_t type = spec.token_types.empty() ? kTokenNormal : spec.token_types[id];
    if (type < kTokenNormal || type > kTokenByte) {
      return absl::InvalidArgumentError(
          absl::StrFormat("tokenizer: token %u: type %d, expected %d to %d", id, type,
                          int{kTokenNormal}, int{kTokenByte}));
    }
    if (piece.empty() || piece.size() > kMaxTokenPieceBytes) {
      return absl::InvalidArgumentError(
          absl::StrFormat("tokenizer: token %u: piece %s has %u bytes, expected 1 to %u", id,
                          Quote(piece), piece.size(), kMaxTokenPieceBytes));
    }
    if (FindInvalidUtf8(piece) != std::string_view::npos) {
      return absl::InvalidArgumentError(
          absl::StrFormat("tokenizer: token %u: piece %s is not UTF-8", id, Quote(piece)));
    }
    if (!pieces->emplace(piece, type).second) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "tokenizer: token %u: piece %s stands for another token too", id, Quote(piece)));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSpecialIds(const TokenizerSpec& spec) {
  const struct {
    const char* name;
    TokenId id;
  } kIds[] = {{"bos", spec.bos_id},
              {"eos", spec.eos_id},
              {"eot", spec.eot_id},
              {"unknown", spec.unk_id},
              {"padding", spec.pad_id}};
  for (const auto& [name, id] : kIds) {
    if (id < -1 || id >= static_cast<int64_t>(spec.tokens.size())) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "tokenizer: %s id %d, expected -1 (none) to %u", name, id, spec.tokens.size() - 1));
    }
  }
  if (spec.add_bos && spec.bos_id < 0) {
    return absl::InvalidArgumentError("tokenizer: add_bos is set, but no bos id is");
  }
  return absl::OkStatus();
}

absl::Status CheckMerge(std::string_view merge, size_t rank, const TypeByPiece& pieces) {
  const size_t space = merge.find(' ');
  if (space == 0 || space == std::string_view::npos || space + 1 == merge.size() ||
      merge.find(' ', space + 1) != std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrFormat("tokenizer: merge %u: %s, expected two pieces with one space between them",
                        rank, Quote(merge)));
  }
  const std::string_view left = merge.substr(0, space), right = merge.substr(space + 1);
  std::string result(left);
  result.append(right);
  for (const std::string_view piece : {left, right, std::string_view(result)}) {
    const auto it = pieces.find(piece);
    if (it == pieces.end()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("tokenizer: merge %u: %s needs piece %s, which is no token", rank,
                          Quote(merge), Quote(piece)));
    }
    if (!IsOrdinary(it->second)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "tokenizer: merge %u: %s involves %s, whose type is %d, expected a normal "
          "or user-defined token",
          rank, Quote(merge), Quote(piece), it->second));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckMerges(const TokenizerSpec& spec, const TypeByPiece& pieces) {
  absl::flat_hash_set<std::string_view> seen;
  seen.reserve(spec.merges.size());
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    SKV_RETURN_IF_ERROR(CheckMerge(spec.merges[rank], rank, pieces));
    if (!seen.insert(spec.merges[rank]).second) {
      return absl::InvalidArgumentError(absl::StrFormat("tokenizer: merge %u: %s is listed twice",
                                                        rank, Quote(spec.merges[rank])));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const TokenizerSpec& spec) {
  SKV_RETURN_IF_ERROR(CheckKinds(spec));
  SKV_RETURN_IF_ERROR(CheckSizes(spec));
  TypeByPiece pieces;
  SKV_RETURN_IF_ERROR(CheckTokens(spec, &pieces));
  SKV_RETURN_IF_ERROR(CheckSpecialIds(spec));
  return CheckMerges(spec, pieces);
}

int32_t TypeOf(const TokenizerSpec& spec, TokenId id) {
  return spec.token_types.empty() ? kTokenNormal : spec.token_types[id];
}

std::string BytesOfToken(const TokenizerSpec& spec, TokenId id) {
  const std::string& piece = spec.tokens[id];
  const int32_t type = TypeOf(spec, id);
  if (type == kTokenUnused) return "";
  const bool is_byte_level = type == kTokenNormal || type == kTokenByte;
  return is_byte_level ? PieceToBytes(piece).value_or(piece) : piece;
}

absl::flat_hash_set<TokenId> EndOfGenerationIds(const TokenizerSpec& spec) {
  absl::flat_hash_set<TokenId> ids;
  for (TokenId id = 0; id < static_cast<TokenId>(spec.tokens.size()); ++id) {
    if (TypeOf(spec, id) != kTokenControl) continue;
    if (std::ranges::find(kEndTokenNames, spec.tokens[id]) != kEndTokenNames.end()) ids.insert(id);
  }
  if (spec.eos_id >= 0) ids.insert(spec.eos_id);
  if (spec.eot_id >= 0) ids.insert(spec.eot_id);
  return ids;
}

}  // namespace skv::text
