#pragma once
// What a model file says about its tokenizer: the plain data that travels from a worker's loader to
// the routers, and all that a Tokenizer, Detokenizer or ChatTemplate is built from.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "common/types.h"

namespace skv::text {

// ggml's token types, as GGUF stores them.
enum TokenType : int32_t {
  kTokenNormal = 1,
  kTokenUnknown = 2,
  kTokenControl = 3,
  kTokenUserDefined = 4,
  kTokenUnused = 5,
  kTokenByte = 6,
};

// Everything as it stands in the file, nothing decoded. Ids are -1 where the file has none.
struct TokenizerSpec {
  std::string model;                 // "gpt2": byte-level BPE, the only kind here
  std::string pre;                   // pre-tokeniser, see pre_tokenizer.h; empty means "default"
  std::vector<std::string> tokens;   // by id; normal tokens in GPT-2's byte-to-character mapping
  std::vector<int32_t> token_types;  // TokenType by id; empty means all normal
  std::vector<std::string> merges;   // "left right", best first
  TokenId bos_id = -1;
  TokenId eos_id = -1;
  TokenId eot_id = -1;
  TokenId unk_id = -1;
  TokenId pad_id = -1;
  bool add_bos = false;
  bool add_space_prefix = false;  // a SentencePiece option, without effect on "gpt2"
  std::string chat_template;      // Jinja source; empty where the file has none
};

// Caps against hostile files; real vocabularies stay far below.
inline constexpr size_t kMaxVocabSize = 1 << 20;
inline constexpr size_t kMaxTokenPieceBytes = 4096;
inline constexpr size_t kMaxMerges = 1 << 21;
inline constexpr size_t kMaxChatTemplateBytes = 1 << 20;

// InvalidArgument, naming the first wrong entry: an empty or too large vocabulary, lists of unequal
// length, a piece that is empty, too long, not UTF-8 or a duplicate, an id or type out of range, a
// merge that is not two known tokens whose concatenation is known too, or one that involves a
// control, unknown or unused token, which ordinary text must never become. Unimplemented: an
// unknown `model` or `pre`.
absl::Status Validate(const TokenizerSpec& spec);

// REQUIRES, for the functions below: Validate(spec) is OK and `id` is in the vocabulary.

// A TokenType.
int32_t TypeOf(const TokenizerSpec& spec, TokenId id);

// The bytes that a token stands for: any bytes for normal tokens, the text itself for control,
// unknown and user-defined tokens, nothing for unused ones.
std::string BytesOfToken(const TokenizerSpec& spec, TokenId id);

// eos, eot, and control tokens that are known to end a turn or a text by their name.
absl::flat_hash_set<TokenId> EndOfGenerationIds(const TokenizerSpec& spec);

}  // namespace skv::text
