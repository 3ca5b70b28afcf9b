#pragma once
// Splits text into the words within which byte pairs are merged. Each kind gives exactly the words
// of its model family's regular expressions, by one forward scan: linear in the text, no recursion,
// no regular-expression stack. White space is Unicode's White_Space (U+000B and U+0085 included,
// U+001C..U+001F not), letters and numbers are the general categories L and N.

#include <cstddef>
#include <optional>
#include <string_view>

namespace skv::text {

enum class PreTokenizerKind {
  // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  kGpt2,
  // each \p{N} alone, then kGpt2 on what lies between
  kSmolLm,
  // (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|
  // \s*[\r\n]+|\s+(?!\S)|\s+
  kLlama3,
  // llama.cpp's fall-back: runs of punctuation and $+<=>^~| apart, then kGpt2 on each part, then
  // numbers without their space, then ASCII digits in threes
  kDefault,
};

// The kind that GGUF's tokenizer.ggml.pre names: "smollm", "llama-bpe" (also "llama3", "llama-v3"),
// "gpt-2", "default" or nothing. Any other name gives nullopt.
std::optional<PreTokenizerKind> PreTokenizerKindFromName(std::string_view name);

// Iterates over the words of one text. Their concatenation is the text; none is empty.
class WordSplitter {
 public:
  // REQUIRES: `text` is generalised UTF-8 (text/utf8.h) and outlives this object.
  WordSplitter(PreTokenizerKind kind, std::string_view text) : kind_(kind), text_(text) {}

  // False at the end of the text.
  bool Next(std::string_view* word);

 private:
  size_t NextEnd();
  size_t NextEndOfSmolLm();
  size_t NextEndOfDefault();

  const PreTokenizerKind kind_;
  const std::string_view text_;
  size_t pos_ = 0;
  size_t segment_end_ = 0;  // kSmolLm, kDefault: where the part that kGpt2 sees ends
  size_t word_end_ = 0;     // kDefault: where the word that is split for its numbers ends
};

}  // namespace skv::text
