#pragma once
// Writes and reads the fields of frames. Both sides have the same functions, so that frames.cc
// names the fields of each frame once; both check the same ranges. The first error stays and turns
// all further calls into nothing. `what` names a field in errors; ranges include both ends, and
// those of lists and texts are of their size. Not thread-safe.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace skv::kvstore {

struct FieldRange {
  uint64_t min = 0;
  uint64_t max = 0;
};
struct ListLimits {
  FieldRange count;
  size_t item_bytes = 0;  // each takes exactly so many
};
enum class TextKind {
  kName,     // printable ASCII
  kMessage,  // no control characters
};

// "number of items".
std::string NumberOf(std::string_view what);

// What writer and reader share: the first error.
class FieldChecks {
 public:
  // InvalidArgument: "session frame: create: items[3]: num_tokens is 0, expected 1 to 128".
  const absl::Status& status() const { return status_; }
  bool ok() const { return status_.ok(); }
  // Stands before the errors from here on.
  void set_frame_name(std::string_view name) { frame_name_ = name; }

  void Fail(std::string_view problem);
  void CheckRange(std::string_view what, uint64_t value, FieldRange range);
  void CheckText(std::string_view what, std::string_view text, TextKind kind);
  // For what the range of one field cannot say.
  void Require(bool condition, std::string_view expected);

 protected:
  template <typename List, typename ItemFields>
  void ForEach(std::string_view what, List& list, ItemFields fields) {
    list_ = what;
    for (item_idx_ = 0; item_idx_ < list.size() && ok(); ++item_idx_) fields(list[item_idx_]);
    list_ = {};
  }

 private:
  std::string_view frame_name_;
  std::string_view list_;  // that is being worked on; empty: none
  size_t item_idx_ = 0;
  absl::Status status_;
};

class FrameWriter : public FieldChecks {
 public:
  static constexpr bool kReads = false;

  template <typename T>
  void U32(std::string_view what, const T& value, FieldRange range) {
    Number(what, static_cast<uint64_t>(value), 4, range);
  }
  template <typename T>
  void U64(std::string_view what, const T& value, FieldRange range) {
    Number(what, static_cast<uint64_t>(value), 8, range);
  }
  void Bytes(std::string_view what, const std::array<uint8_t, 16>& bytes);
  void Text(std::string_view what, const std::string& text, FieldRange size, TextKind kind);
  template <typename T, typename ItemFields>
  void List(std::string_view what, const std::vector<T>& list, ListLimits limits,
            ItemFields fields) {
    U32(NumberOf(what), list.size(), limits.count);
    ForEach(what, list, fields);
  }

  // REQUIRES: ok().
  std::string Take() { return std::move(out_); }

 private:
  void Number(std::string_view what, uint64_t value, int num_bytes, FieldRange range);

  std::string out_;
};

// A field that could not be read stays as it was.
class FrameReader : public FieldChecks {
 public:
  static constexpr bool kReads = true;

  // `bytes` outlives the reader.
  explicit FrameReader(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  void U32(std::string_view what, T& value, FieldRange range) {
    if (const auto read = Number(what, 4, range)) value = static_cast<T>(*read);
  }
  template <typename T>
  void U64(std::string_view what, T& value, FieldRange range) {
    if (const auto read = Number(what, 8, range)) value = static_cast<T>(*read);
  }
  void Bytes(std::string_view what, std::array<uint8_t, 16>& bytes);
  void Text(std::string_view what, std::string& text, FieldRange size, TextKind kind);
  template <typename T, typename ItemFields>
  void List(std::string_view what, std::vector<T>& list, ListLimits limits, ItemFields fields) {
    list.resize(ReadCount(what, limits));
    ForEach(what, list, fields);
  }

  // Fails when bytes are left over.
  void Finish();

 private:
  // nullptr, and an error, when so many are not there.
  const char* Advance(std::string_view what, size_t num_bytes);
  std::optional<uint64_t> Number(std::string_view what, int num_bytes, FieldRange range);
  // 0 unless so many items are there.
  size_t ReadCount(std::string_view what, ListLimits limits);

  const std::string_view bytes_;
  size_t offset_ = 0;
};

}  // namespace skv::kvstore
