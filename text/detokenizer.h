#pragma once
// Tokens of one stream back to text, as they come.

#include <string>
#include <string_view>

#include "common/types.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace skv::text {

// The concatenated outputs are well-formed UTF-8 and equal Hugging Face's decode of all tokens:
// half a character never leaves, and what cannot become a character becomes U+FFFD. Not
// thread-safe; one per stream.
class IncrementalDetokenizer {
 public:
  struct Options {
    // Whether control tokens appear as their text (<|im_end|>) or not at all.
    bool include_control = false;
  };

  // `tokenizer` outlives this object.
  IncrementalDetokenizer(const Tokenizer* tokenizer, Options options)
      : tokenizer_(tokenizer), options_(options) {}

  // The text that `id` completes: nothing while a character is unfinished, and nothing for an id
  // outside the vocabulary.
  std::string Push(TokenId id);

  // Ends the stream: U+FFFD for a character that was left unfinished, else nothing.
  std::string Flush();

 private:
  const Tokenizer* const tokenizer_;
  const Options options_;
  LossyUtf8Decoder decoder_;
};

}  // namespace skv::text
