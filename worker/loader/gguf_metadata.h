#pragma once
// The key-value part of a GGUF file. Values stay encoded in the file's bytes, which must outlive
// this object and every view it returns; ParseGguf (gguf_parser.h) has checked every length and
// bool before a value gets here.

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace skv::loader {

// GGUF's numbering.
enum class GgufType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// "uint32"; "unknown" for anything else than the above.
const char* GgufTypeName(GgufType type);
// Encoded bytes of one value; 0 where the value says itself how long it is (string, array).
size_t GgufTypeBytes(GgufType type);

struct GgufValue {
  GgufType type;  // of the elements, where this is an array; never kArray
  bool is_array;
  uint64_t count;                    // 1 for a scalar
  std::span<const std::byte> bytes;  // `count` encoded elements; a string has its length in front
};

// Getters answer NotFound for a missing key and DataLoss for a value of another type or out of
// range; the ...Or form answers its default for a missing key only. Errors name the file and the
// key. Immutable after parsing, so reading is thread-safe.
class GgufMetadata {
 public:
  explicit GgufMetadata(std::string file_name) : file_name_(std::move(file_name)) {}

  // False when the key is there already.
  bool Insert(std::string_view key, GgufValue value) { return values_.emplace(key, value).second; }

  bool Has(std::string_view key) const { return values_.count(key) > 0; }
  // Any integer type that is not negative.
  absl::StatusOr<uint64_t> Uint(std::string_view key) const;
  absl::StatusOr<uint64_t> UintOr(std::string_view key, uint64_t default_value) const;
  // float32 or float64; may be NaN or infinite.
  absl::StatusOr<double> Float(std::string_view key) const;
  absl::StatusOr<double> FloatOr(std::string_view key, double default_value) const;
  absl::StatusOr<bool> BoolOr(std::string_view key, bool default_value) const;
  absl::StatusOr<std::string_view> String(std::string_view key) const;
  absl::StatusOr<std::string_view> StringOr(std::string_view key,
                                            std::string_view default_value) const;
  absl::StatusOr<std::vector<std::string_view>> Strings(std::string_view key) const;
  // An array of any integer type whose elements fit int32.
  absl::StatusOr<std::vector<int32_t>> Int32s(std::string_view key) const;

  const std::map<std::string_view, GgufValue>& values() const { return values_; }

 private:
  absl::StatusOr<GgufValue> Find(std::string_view key) const;
  absl::Status WrongType(std::string_view key, const GgufValue& value, const char* expected) const;

  std::string file_name_;
  std::map<std::string_view, GgufValue> values_;
};

// `text` for an error message: cut to 80 bytes, and escaped to printable ASCII.
std::string Printable(std::string_view text);

}  // namespace skv::loader
