#pragma once
// UTF-8 as the tokenizers need it: strict checking of what clients send, and the lenient reading
// that llama.cpp applies to arbitrary bytes.

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace skv::text {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// Offset of the first byte that is not part of well-formed UTF-8 (RFC 3629: no overlong form, no
// surrogate, nothing above U+10FFFF), or npos.
size_t FindInvalidUtf8(std::string_view text);

// InvalidArgument "<what>: byte 17 (0xC3) is not UTF-8 ..." unless `text` is well-formed.
absl::Status ValidateUtf8(std::string_view text, std::string_view what);

// One character of generalised UTF-8: well-formed, except that surrogates may stand in three bytes.
struct CodePoint {
  char32_t value;
  int num_bytes;
};

// The character that starts at text[pos]. REQUIRES: `text` is generalised UTF-8, `pos` a
// character's first byte.
CodePoint DecodeAt(std::string_view text, size_t pos);

// Reads arbitrary bytes as llama.cpp does and returns generalised UTF-8. A lead byte followed by
// its continuation bytes is a character, overlong forms and surrogates included (an overlong form
// comes back in its shortest form, so C0 80 becomes NUL); any other byte becomes U+FFFD. Characters
// above U+10FFFF, which make llama.cpp fail, become U+FFFD byte by byte.
std::string ReadLeniently(std::string_view bytes);

// Turns a stream of bytes into well-formed UTF-8, as Rust's from_utf8_lossy and WHATWG decoders do:
// each maximal part of a character that cannot be completed becomes one U+FFFD. Not thread-safe.
class LossyUtf8Decoder {
 public:
  // Appends to `out` every character that `bytes` completes; keeps at most 3 bytes back.
  void Push(std::string_view bytes, std::string* out);
  // Appends U+FFFD when a character was left unfinished, and starts anew.
  void Flush(std::string* out);
  // The first bytes of an unfinished character, which are at most 3.
  std::string_view pending() const { return pending_; }
  bool has_pending() const { return !pending_.empty(); }

 private:
  bool Accepts(unsigned char continuation) const;
  void StartCharacter(unsigned char lead, std::string* out);

  std::string pending_;  // the bytes of an unfinished character
  int num_missing_ = 0;
};

}  // namespace skv::text
