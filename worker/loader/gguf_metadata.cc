#include "worker/loader/gguf_metadata.h"

#include <cstring>
#include <limits>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::loader {
namespace {

template <typename T>
T Decode(const std::byte* src) {
  T value;
  std::memcpy(&value, src, sizeof(value));
  return value;
}

std::string_view DecodeString(const std::byte* src) {
  return {reinterpret_cast<const char*>(src + sizeof(uint64_t)), Decode<uint64_t>(src)};
}

bool IsInteger(GgufType type) {
  return type <= GgufType::kInt32 || type == GgufType::kUint64 || type == GgufType::kInt64;
}

// nullopt: a uint64 beyond int64. REQUIRES: IsInteger(type).
std::optional<int64_t> DecodeInteger(GgufType type, const std::byte* src) {
  switch (type) {
    case GgufType::kUint8:
      return Decode<uint8_t>(src);
    case GgufType::kInt8:
      return Decode<int8_t>(src);
    case GgufType::kUint16:
      return Decode<uint16_t>(src);
    case GgufType::kInt16:
      return Decode<int16_t>(src);
    case GgufType::kUint32:
      return Decode<uint32_t>(src);
    case GgufType::kInt32:
      return Decode<int32_t>(src);
    case GgufType::kInt64:
      return Decode<int64_t>(src);
    default:
      break;
  }
  const uint64_t value = Decode<uint64_t>(src);
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return static_cast<int64_t>(value);
}

// The getter's answer, or the default when the key is missing.
template <typename T>
absl::StatusOr<T> Or(bool has_key, absl::StatusOr<T> value, T default_value) {
  if (!has_key) return default_value;
  return value;
}

}  // namespace

const char* GgufTypeName(GgufType type) {
  static constexpr const char* kNames[] = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                           "int32",  "float32", "bool",   "string", "array",
                                           "uint64", "int64",   "float64"};
  const auto idx = static_cast<uint32_t>(type);
  return idx < std::size(kNames) ? kNames[idx] : "unknown";
}

size_t GgufTypeBytes(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

std::string Printable(std::string_view text) {
  constexpr size_t kMaxBytes = 80;
  const std::string escaped = absl::CHexEscape(Sv(text.substr(0, kMaxBytes)));
  return text.size() <= kMaxBytes ? escaped : absl::StrCat(escaped, "...");
}

absl::StatusOr<GgufValue> GgufMetadata::Find(std::string_view key) const {
  const auto it = values_.find(key);
  if (it == values_.end()) {
    return absl::NotFoundError(absl::StrCat(file_name_, ": metadata key ", Sv(key), " is missing"));
  }
  return it->second;
}

absl::Status GgufMetadata::WrongType(std::string_view key, const GgufValue& value,
                                     const char* expected) const {
  return absl::DataLossError(absl::StrCat(file_name_, ": metadata key ", Sv(key), ": is ",
                                          value.is_array ? "an array of " : "",
                                          GgufTypeName(value.type), ", expected ", expected));
}

absl::StatusOr<uint64_t> GgufMetadata::Uint(std::string_view key) const {
  SKV_ASSIGN_OR_RETURN(const GgufValue value, Find(key));
  if (value.is_array || !IsInteger(value.type)) return WrongType(key, value, "an integer");
  if (value.type == GgufType::kUint64) return Decode<uint64_t>(value.bytes.data());
  const int64_t number = *DecodeInteger(value.type, value.bytes.data());
  if (number < 0) {
    return absl::DataLossError(absl::StrCat(file_name_, ": metadata key ", Sv(key), ": is ", number,
                                            ", expected a number that is not negative"));
  }
  return static_cast<uint64_t>(number);
}

absl::StatusOr<double> GgufMetadata::Float(std::string_view key) const {
  SKV_ASSIGN_OR_RETURN(const GgufValue value, Find(key));
  if (!value.is_array && value.type == GgufType::kFloat32) return Decode<float>(value.bytes.data());
  if (!value.is_array && value.type == GgufType::kFloat64) {
    return Decode<double>(value.bytes.data());
  }
  return WrongType(key, value, "float32 or float64");
}

absl::StatusOr<std::string_view> GgufMetadata::String(std::string_view key) const {
  SKV_ASSIGN_OR_RETURN(const GgufValue value, Find(key));
  if (value.is_array || value.type != GgufType::kString) return WrongType(key, value, "string");
  return DecodeString(value.bytes.data());
}

absl::StatusOr<bool> GgufMetadata::BoolOr(std::string_view key, bool default_value) const {
  if (!Has(key)) return default_value;
  SKV_ASSIGN_OR_RETURN(const GgufValue value, Find(key));
  if (value.is_array || value.type != GgufType::kBool) return WrongType(key, value, "bool");
  return Decode<uint8_t>(value.bytes.data()) != 0;
}

absl::StatusOr<uint64_t> GgufMetadata::UintOr(std::string_view key, uint64_t default_value) const {
  return Or(Has(key), Uint(key), default_value);
}

absl::StatusOr<double> GgufMetadata::FloatOr(std::string_view key, double default_value) const {
  return Or(Has(key), Float(key), default_value);
}

absl::StatusOr<std::string_view> GgufMetadata::StringOr(std::string_view key,
                                                        std::string_view default_value) const {
  return Or(Has(key), String(key), default_value);
}

absl::StatusOr<std::vector<std::string_view>> GgufMetadata::Strings(std::string_view key) const {
  SKV_ASSIGN_OR_RETURN(const GgufValue value, Find(key));
  if (!value.is_array || value.type != GgufType::kString) {
    return WrongType(key, value, "an array of string");
  }
  std::vector<std::string_view> strings;
  strings.reserve(value.count);
  const std::byte* src = value.bytes.data();
  for (uint64_t i = 0; i < value.count; ++i) {
    strings.push_back(DecodeString(src));
    src += sizeof(uint64_t) + strings.back().size();
  }
  return strings;
}

absl::StatusOr<std::vector<int32_t>> GgufMetadata::Int32s(std::string_view key) const {
  SKV_ASSIGN_OR_RETURN(const GgufValue value, Find(key));
  if (!value.is_array || !IsInteger(value.type)) {
    return WrongType(key, value, "an array of integers");
  }
  std::vector<int32_t> numbers;
  numbers.reserve(value.count);
  for (uint64_t i = 0; i < value.count; ++i) {
    const std::byte* src = value.bytes.data() + i * GgufTypeBytes(value.type);
    const std::optional<int64_t> number = DecodeInteger(value.type, src);
    if (!number || *number != static_cast<int32_t>(*number)) {
      return absl::DataLossError(absl::StrCat(file_name_, ": metadata key ", Sv(key), ": element ",
                                              i, " does not fit a signed 32-bit number"));
    }
    numbers.push_back(static_cast<int32_t>(*number));
  }
  return numbers;
}

}  // namespace skv::loader
