#pragma once
// GPT-2's alphabet: each of the 256 bytes written as one printable character, so that vocabularies
// of bytes can be stored as text. Printable Latin-1 bytes stand for themselves, the other 68 take
// the characters from U+0100 on in byte order.

#include <optional>
#include <string>
#include <string_view>

namespace skv::text {

// The character, in UTF-8, that stands for `byte`.
std::string ByteToCharacter(unsigned char byte);

// The bytes that a piece of a byte-level vocabulary stands for; nullopt when the piece has a
// character outside the alphabet. REQUIRES: `piece` is well-formed UTF-8.
std::optional<std::string> PieceToBytes(std::string_view piece);

}  // namespace skv::text
