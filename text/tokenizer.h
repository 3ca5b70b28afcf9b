#pragma once
// Byte-level BPE tokenizer (GPT-2, SmolLM, Llama 3), built from a TokenizerSpec.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "text/byte_pair_merger.h"
#include "text/pre_tokenizer.h"
#include "text/special_tokens.h"
#include "text/tokenizer_spec.h"

namespace skv::text {

struct EncodeOptions {
  // True: the text of a control token (<|im_end|>) becomes that token. False: it is ordinary text,
  // which is what untrusted content needs. User-defined tokens are found in both cases.
  bool parse_special = false;
  // Puts bos_id in front when the spec's add_bos asks for it.
  bool add_bos = false;
};

// Immutable and thread-safe. Takes about 200 bytes per vocabulary entry.
class Tokenizer {
 public:
  static constexpr size_t kMaxTextBytes = size_t{128} << 20;

  // Errors of Validate(spec).
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(TokenizerSpec spec);

  // The same ids as llama.cpp for any bytes, and as Hugging Face tokenizers for well-formed UTF-8.
  // Ill-formed UTF-8 is read as text/utf8.h's ReadLeniently says; servers refuse it beforehand with
  // ValidateUtf8. A byte that no token covers is left out.
  // Time O(n log n), also for a text without any word boundary; memory is the ids plus at most 44
  // bytes per byte of the longest word. InvalidArgument: more than kMaxTextBytes, or a single word
  // (letters without a break, say) of more than BytePairMerger::kMaxWordBytes; a caller with a
  // context limit refuses such texts by MinTokens first.
  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text, EncodeOptions options) const;

  // A lower bound of the number of ids that Encode gives, from the text's size alone; 0 where bytes
  // without a token make any bound unsafe.
  size_t MinTokens(size_t num_text_bytes) const;

  // The most bytes that `num_tokens` tokens can stand for. A longer text is refused before it is
  // tokenised, even where the vocabulary lacks tokens for some bytes, so that it might fit.
  size_t MaxBytes(int64_t num_tokens) const;

  // The bytes that a token stands for: any bytes for normal tokens, the text itself for control,
  // unknown and user-defined tokens, nothing for unused ones and for ids outside the vocabulary.
  std::string_view TokenBytes(TokenId id) const;

  int vocab_size() const { return static_cast<int>(spec_.tokens.size()); }
  bool IsValid(TokenId id) const { return id >= 0 && id < vocab_size(); }
  // Control or unknown: part of the protocol with the model, not of its answer.
  bool IsControl(TokenId id) const;
  // eos, eot, and control tokens that are known to end a turn or a text by their name.
  bool IsEndOfGeneration(TokenId id) const { return end_ids_.contains(id); }
  const absl::flat_hash_set<TokenId>& end_of_generation_ids() const { return end_ids_; }

  const TokenizerSpec& spec() const { return spec_; }

 private:
  explicit Tokenizer(TokenizerSpec spec);
  void IndexTokens();
  void IndexWholeWords();
  absl::Status EncodeFragment(std::string_view fragment, BytePairMerger::Scratch* scratch,
                              std::vector<TokenId>* ids) const;

  const TokenizerSpec spec_;
  PreTokenizerKind pre_tokenizer_;
  std::vector<std::string> token_bytes_;
  // Words that are one token: a look-up instead of the merges, exact and with nothing to lock.
  absl::flat_hash_map<std::string_view, TokenId> id_by_whole_word_;
  BytePairMerger merger_;
  SpecialTokenMatcher special_tokens_;
  absl::flat_hash_set<TokenId> end_ids_;
  size_t max_token_bytes_ = 1;
  bool all_bytes_have_tokens_ = true;
};

}  // namespace skv::text
