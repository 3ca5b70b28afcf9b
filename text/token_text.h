#pragma once
// The text that a list of tokens stands for, and which bytes of it a run of them has. Immutable and
// thread-safe.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "common/types.h"
#include "text/tokenizer.h"

namespace skv::text {

// Bytes [begin, end) of a text.
struct ByteRange {
  int64_t begin;
  int64_t end;
  bool operator==(const ByteRange&) const = default;
};

class TokenText {
 public:
  // The bytes of the tokens, joined; control tokens count as their text (<|im_start|>).
  TokenText(const Tokenizer& tokenizer, absl::Span<const TokenId> ids);
  // The same for the ids of Encode(text, {.add_bos = true}): the token that it puts in front has no
  // bytes, so that ranges are those of `text`, as far as the vocabulary covers it.
  static TokenText OfEncoded(const Tokenizer& tokenizer, absl::Span<const TokenId> ids);

  int num_tokens() const { return static_cast<int>(ends_.size()); }
  // Of tokens [begin, end), which are some of these.
  ByteRange BytesOf(int begin, int end) const;
  // Their text as UTF-8: what is no character, a half one at either end included, is U+FFFD.
  std::string TextOf(int begin, int end) const;

 private:
  std::string bytes_;
  std::vector<int64_t> ends_;  // of each token
};

}  // namespace skv::text
