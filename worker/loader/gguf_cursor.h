#pragma once
// Reads little-endian values from the front of a byte span; each read is checked against what is
// left.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::loader {

// Not thread-safe. `bytes` and `file_name` outlive the cursor. Every error is DataLoss and names
// the file, the byte position and `what`, the thing being read.
class GgufCursor {
 public:
  GgufCursor(std::span<const std::byte> bytes, const std::string& file_name)
      : bytes_(bytes), file_name_(file_name) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

  template <typename T>
  absl::StatusOr<T> Read(std::string_view what) {
    SKV_ASSIGN_OR_RETURN(const auto source, Take(sizeof(T), what));
    T value;
    std::memcpy(&value, source.data(), sizeof(value));
    return value;
  }

  // A uint64 length and as many bytes, at most `max_bytes`.
  absl::StatusOr<std::string_view> ReadString(uint64_t max_bytes, std::string_view what) {
    SKV_ASSIGN_OR_RETURN(const uint64_t length, Read<uint64_t>(what));
    if (length > max_bytes) {
      return Error(absl::StrCat(Sv(what), ": length ", length, ", expected at most ", max_bytes));
    }
    SKV_ASSIGN_OR_RETURN(const auto source, Take(length, what));
    return std::string_view(reinterpret_cast<const char*>(source.data()), source.size());
  }

  absl::StatusOr<std::span<const std::byte>> Take(uint64_t num_bytes, std::string_view what) {
    if (num_bytes > remaining()) {
      return Error(absl::StrCat(Sv(what), ": needs ", num_bytes, " bytes, only ", remaining(),
                                " are left; the file is damaged or was cut off"));
    }
    const auto result = bytes_.subspan(position_, num_bytes);
    position_ += num_bytes;
    return result;
  }

  absl::Status Error(std::string_view problem) const {
    return absl::DataLossError(
        absl::StrCat(file_name_, ": at byte ", position_, ": ", Sv(problem)));
  }

 private:
  const std::span<const std::byte> bytes_;
  const std::string& file_name_;
  size_t position_ = 0;
};

}  // namespace skv::loader
