#include "text/utf8.h"

#include <cstdint>

#include "absl/strings/str_format.h"
#include "common/status.h"

namespace skv::text {
namespace {

bool IsContinuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

// Bytes that a character with this lead byte has; 0 for a byte that starts none.
int LengthFromLead(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xC0) return 0;
  if (lead < 0xE0) return 2;
  if (lead < 0xF0) return 3;
  return lead < 0xF8 ? 4 : 0;
}

// The second byte's range decides between well-formed and overlong, surrogate or too large.
bool SecondByteIsWellFormed(unsigned char lead, unsigned char second) {
  switch (lead) {
    case 0xE0:
      return second >= 0xA0 && second <= 0xBF;
    case 0xED:
      return second >= 0x80 && second <= 0x9F;
    case 0xF0:
      return second >= 0x90 && second <= 0xBF;
    case 0xF4:
      return second >= 0x80 && second <= 0x8F;
    default:
      return IsContinuation(second);
  }
}

bool IsWellFormedLead(unsigned char lead) { return lead < 0x80 || (lead >= 0xC2 && lead <= 0xF4); }

void AppendCodePoint(char32_t value, std::string* out) {
  if (value < 0x80) {
    out->push_back(static_cast<char>(value));
  } else if (value < 0x800) {
    out->push_back(static_cast<char>(0xC0 | (value >> 6)));
    out->push_back(static_cast<char>(0x80 | (value & 0x3F)));
  } else if (value < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | (value >> 12)));
    out->push_back(static_cast<char>(0x80 | ((value >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (value & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | (value >> 18)));
    out->push_back(static_cast<char>(0x80 | ((value >> 12) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | ((value >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (value & 0x3F)));
  }
}

}  // namespace

size_t FindInvalidUtf8(std::string_view text) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  size_t pos = 0;
  while (pos < text.size()) {
    const unsigned char lead = bytes[pos];
    if (lead < 0x80) {
      ++pos;
      continue;
    }
    const int length = LengthFromLead(lead);
    if (!IsWellFormedLead(lead) || pos + length > text.size()) return pos;
    if (!SecondByteIsWellFormed(lead, bytes[pos + 1])) return pos;
    for (int i = 2; i < length; ++i) {
      if (!IsContinuation(bytes[pos + i])) return pos;
    }
    pos += length;
  }
  return std::string_view::npos;
}

absl::Status ValidateUtf8(std::string_view text, std::string_view what) {
  const size_t pos = FindInvalidUtf8(text);
  if (pos == std::string_view::npos) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s: byte %u (0x%02X) does not start a well-formed UTF-8 character; send UTF-8", Sv(what),
      pos, static_cast<unsigned char>(text[pos])));
}

CodePoint DecodeAt(std::string_view text, size_t pos) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data()) + pos;
  const char32_t lead = bytes[0];
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {((lead & 0x1F) << 6) | (bytes[1] & 0x3Fu), 2};
  if (lead < 0xF0) {
    return {((lead & 0x0F) << 12) | ((bytes[1] & 0x3Fu) << 6) | (bytes[2] & 0x3Fu), 3};
  }
  return {((lead & 0x07) << 18) | ((bytes[1] & 0x3Fu) << 12) | ((bytes[2] & 0x3Fu) << 6) |
              (bytes[3] & 0x3Fu),
          4};
}

std::string ReadLeniently(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  size_t pos = 0;
  while (pos < bytes.size()) {
    const int length = LengthFromLead(static_cast<unsigned char>(bytes[pos]));
    bool is_character = length > 0 && pos + length <= bytes.size();
    for (int i = 1; is_character && i < length; ++i) {
      is_character = IsContinuation(static_cast<unsigned char>(bytes[pos + i]));
    }
    const CodePoint code_point = is_character ? DecodeAt(bytes, pos) : CodePoint{0x110000, 1};
    if (code_point.value > 0x10FFFF) {
      out.append(kReplacementCharacter);
      ++pos;
    } else {
      AppendCodePoint(code_point.value, &out);
      pos += code_point.num_bytes;
    }
  }
  return out;
}

bool LossyUtf8Decoder::Accepts(unsigned char continuation) const {
  if (pending_.size() > 1) return IsContinuation(continuation);
  return SecondByteIsWellFormed(static_cast<unsigned char>(pending_[0]), continuation);
}

void LossyUtf8Decoder::StartCharacter(unsigned char lead, std::string* out) {
  if (lead < 0x80) {
    out->push_back(static_cast<char>(lead));
  } else if (IsWellFormedLead(lead)) {
    pending_.assign(1, static_cast<char>(lead));
    num_missing_ = LengthFromLead(lead) - 1;
  } else {
    out->append(kReplacementCharacter);
  }
}

void LossyUtf8Decoder::Push(std::string_view bytes, std::string* out) {
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (num_missing_ > 0 && Accepts(byte)) {
      pending_.push_back(c);
      if (--num_missing_ == 0) {
        out->append(pending_);
        pending_.clear();
      }
      continue;
    }
    // A byte that breaks off a character ends it and starts the next one.
    Flush(out);
    StartCharacter(byte, out);
  }
}

void LossyUtf8Decoder::Flush(std::string* out) {
  if (num_missing_ > 0) out->append(kReplacementCharacter);
  pending_.clear();
  num_missing_ = 0;
}

}  // namespace skv::text
