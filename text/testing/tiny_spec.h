#pragma once
// A vocabulary small enough to follow by hand.

#include <string>
#include <string_view>
#include <vector>

#include "text/byte_alphabet.h"
#include "text/tokenizer_spec.h"

namespace skv::text {

inline constexpr TokenId kTinyEndOfText = 256;
inline constexpr TokenId kTinyImStart = 257;
inline constexpr TokenId kTinyImEnd = 258;
inline constexpr TokenId kTinyTool = 259;  // user-defined "<tool>"
inline constexpr TokenId kTinyFirstMerge = 260;

// Ids 0..255 are the bytes of the same value, then the four tokens above, then one token for each
// of `merges` ("h e", in GPT-2's alphabet) in order.
inline TokenizerSpec TinySpec(const std::vector<std::string>& merges,
                              std::string_view pre = "gpt-2") {
  TokenizerSpec spec;
  spec.model = "gpt2";
  spec.pre = std::string(pre);
  for (int byte = 0; byte < 256; ++byte) {
    spec.tokens.push_back(ByteToCharacter(static_cast<unsigned char>(byte)));
  }
  spec.token_types.assign(256, kTokenNormal);
  for (const char* text : {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool>"}) {
    spec.tokens.push_back(text);
    spec.token_types.push_back(kTokenControl);
  }
  spec.token_types.back() = kTokenUserDefined;
  for (const std::string& merge : merges) {
    std::string piece = merge;
    piece.erase(piece.find(' '), 1);
    spec.tokens.push_back(piece);
    spec.token_types.push_back(kTokenNormal);
    spec.merges.push_back(merge);
  }
  spec.bos_id = kTinyEndOfText;
  spec.eos_id = kTinyImEnd;
  return spec;
}

}  // namespace skv::text
