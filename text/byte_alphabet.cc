#include "text/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "text/utf8.h"

namespace skv::text {
namespace {

bool StandsForItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
}

constexpr int kFirstSubstitute = 0x100;
constexpr int kNumSubstitutes = 68;

struct Alphabet {
  std::array<char32_t, 256> character;
  std::array<int16_t, kFirstSubstitute + kNumSubstitutes> byte;  // -1: no byte is written so
};

Alphabet MakeAlphabet() {
  Alphabet alphabet;
  alphabet.byte.fill(-1);
  int next_substitute = kFirstSubstitute;
  for (int byte = 0; byte < 256; ++byte) {
    const int character = StandsForItself(byte) ? byte : next_substitute++;
    alphabet.character[byte] = character;
    alphabet.byte[character] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

const Alphabet& GetAlphabet() {
  static const Alphabet alphabet = MakeAlphabet();
  return alphabet;
}

}  // namespace

std::string ByteToCharacter(unsigned char byte) {
  const char32_t character = GetAlphabet().character[byte];
  if (character < 0x80) return std::string(1, static_cast<char>(character));
  return {static_cast<char>(0xC0 | (character >> 6)), static_cast<char>(0x80 | (character & 0x3F))};
}

std::optional<std::string> PieceToBytes(std::string_view piece) {
  const Alphabet& alphabet = GetAlphabet();
  std::string bytes;
  bytes.reserve(piece.size());
  for (size_t pos = 0; pos < piece.size();) {
    const CodePoint code_point = DecodeAt(piece, pos);
    if (code_point.value >= alphabet.byte.size()) return std::nullopt;
    const int byte = alphabet.byte[code_point.value];
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
    pos += code_point.num_bytes;
  }
  return bytes;
}

}  // namespace skv::text
