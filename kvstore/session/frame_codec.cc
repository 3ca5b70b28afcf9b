#include "kvstore/session/frame_codec.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::kvstore {

std::string NumberOf(std::string_view what) { return absl::StrCat("number of ", Sv(what)); }

void FieldChecks::Fail(std::string_view problem) {
  if (!ok()) return;
  std::string where = absl::StrCat("session frame: ", Sv(frame_name_));
  if (!frame_name_.empty()) where += ": ";
  if (!list_.empty()) absl::StrAppend(&where, Sv(list_), "[", item_idx_, "]: ");
  status_ = absl::InvalidArgumentError(absl::StrCat(where, Sv(problem)));
}

void FieldChecks::CheckRange(std::string_view what, uint64_t value, FieldRange range) {
  if (value >= range.min && value <= range.max) return;
  Fail(absl::StrCat(Sv(what), " is ", value, ", expected ", range.min, " to ", range.max));
}

void FieldChecks::CheckText(std::string_view what, std::string_view text, TextKind kind) {
  const auto bad = std::find_if(text.begin(), text.end(), [kind](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f || (kind == TextKind::kName && byte > 0x7f);
  });
  if (bad == text.end()) return;
  Fail(absl::StrCat(
      Sv(what), " has byte ", static_cast<unsigned char>(*bad), " at ", bad - text.begin(),
      kind == TextKind::kName ? ", expected printable ASCII" : ", expected no control characters"));
}

void FieldChecks::Require(bool condition, std::string_view expected) {
  if (!condition) Fail(absl::StrCat("expected ", Sv(expected)));
}

void FrameWriter::Number(std::string_view what, uint64_t value, int num_bytes, FieldRange range) {
  CheckRange(what, value, range);
  if (!ok()) return;
  for (int i = 0; i < num_bytes; ++i) out_.push_back(static_cast<char>(value >> 8 * i));
}

void FrameWriter::Bytes(std::string_view what, const std::array<uint8_t, 16>& bytes) {
  out_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void FrameWriter::Text(std::string_view what, const std::string& text, FieldRange size,
                       TextKind kind) {
  U32(absl::StrCat("length of ", Sv(what)), text.size(), size);
  CheckText(what, text, kind);
  if (ok()) out_ += text;
}

const char* FrameReader::Advance(std::string_view what, size_t num_bytes) {
  if (!ok()) return nullptr;
  const size_t left = bytes_.size() - offset_;
  if (num_bytes > left) {
    Fail(absl::StrCat(Sv(what), " at byte ", offset_, " has ", left, " bytes, expected ",
                      num_bytes));
    return nullptr;
  }
  const char* begin = bytes_.data() + offset_;
  offset_ += num_bytes;
  return begin;
}

std::optional<uint64_t> FrameReader::Number(std::string_view what, int num_bytes,
                                            FieldRange range) {
  const char* begin = Advance(what, num_bytes);
  if (begin == nullptr) return std::nullopt;
  uint64_t value = 0;
  for (int i = 0; i < num_bytes; ++i) {
    value |= uint64_t{static_cast<unsigned char>(begin[i])} << 8 * i;
  }
  CheckRange(what, value, range);
  if (!ok()) return std::nullopt;
  return value;
}

void FrameReader::Bytes(std::string_view what, std::array<uint8_t, 16>& bytes) {
  const char* begin = Advance(what, bytes.size());
  if (begin != nullptr) std::memcpy(bytes.data(), begin, bytes.size());
}

void FrameReader::Text(std::string_view what, std::string& text, FieldRange size, TextKind kind) {
  const auto num_bytes = Number(absl::StrCat("length of ", Sv(what)), 4, size);
  if (!num_bytes) return;
  const char* begin = Advance(what, *num_bytes);
  if (begin == nullptr) return;
  text.assign(begin, *num_bytes);
  CheckText(what, text, kind);
}

size_t FrameReader::ReadCount(std::string_view what, ListLimits limits) {
  const auto count = Number(NumberOf(what), 4, limits.count);
  if (!count) return 0;
  const size_t room = (bytes_.size() - offset_) / limits.item_bytes;
  if (*count <= room) return *count;
  Fail(absl::StrCat(NumberOf(what), " is ", *count, ", the frame has room for ", room,
                    ", expected at most that"));
  return 0;
}

void FrameReader::Finish() {
  if (ok() && offset_ != bytes_.size()) {
    Fail(absl::StrCat("has ", bytes_.size(), " bytes, expected ", offset_));
  }
}

}  // namespace skv::kvstore
