#pragma once
// Builds GGUF files in memory for tests, well-formed ones and damaged ones.

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "worker/loader/gguf_metadata.h"

namespace skv::loader {

// Entries and tensors appear in the order of the calls; Finish puts the file together.
class GgufWriter {
 public:
  void AddUint32(std::string_view key, uint32_t value) { AddScalar(key, GgufType::kUint32, value); }
  void AddUint64(std::string_view key, uint64_t value) { AddScalar(key, GgufType::kUint64, value); }
  void AddInt32(std::string_view key, int32_t value) { AddScalar(key, GgufType::kInt32, value); }
  void AddFloat(std::string_view key, float value) { AddScalar(key, GgufType::kFloat32, value); }
  void AddBool(std::string_view key, bool value) {
    AddScalar(key, GgufType::kBool, static_cast<uint8_t>(value));
  }
  void AddString(std::string_view key, std::string_view value) {
    BeginEntry(key, GgufType::kString);
    AppendString(&entries_, value);
  }
  void AddStrings(std::string_view key, const std::vector<std::string>& values) {
    BeginArray(key, GgufType::kString, values.size());
    for (const std::string& value : values) AppendString(&entries_, value);
  }
  void AddInt32s(std::string_view key, const std::vector<int32_t>& values) {
    BeginArray(key, GgufType::kInt32, values.size());
    for (const int32_t value : values) Append(&entries_, value);
  }
  // An entry with the given bytes as its value, whatever they are.
  void AddRaw(std::string_view key, uint32_t type, std::string_view value) {
    BeginEntry(key, static_cast<GgufType>(type));
    entries_ += value;
  }

  // `dims` innermost first; `data` is the tensor's bytes, or any others.
  void AddTensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
                 std::string_view data) {
    AddTensorInfo(name, dims, type, data_.size());
    data_ += data;
    data_.resize((data_.size() + kAlignment - 1) / kAlignment * kAlignment);
  }
  // The description alone.
  void AddTensorInfo(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
                     uint64_t offset) {
    ++num_tensors_;
    AppendString(&infos_, name);
    Append(&infos_, static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims) Append(&infos_, dim);
    Append(&infos_, type);
    Append(&infos_, offset);
  }

  std::string Finish(uint32_t version = 3) const {
    std::string file = "GGUF";
    Append(&file, version);
    Append(&file, num_tensors_);
    Append(&file, num_entries_);
    file += entries_;
    file += infos_;
    file.resize((file.size() + kAlignment - 1) / kAlignment * kAlignment);
    return file + data_;
  }

  template <typename T>
  static void Append(std::string* out, T value) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    out->append(bytes, sizeof(T));
  }
  static void AppendString(std::string* out, std::string_view text) {
    Append(out, static_cast<uint64_t>(text.size()));
    *out += text;
  }

 private:
  static constexpr size_t kAlignment = 32;

  void BeginEntry(std::string_view key, GgufType type) {
    ++num_entries_;
    AppendString(&entries_, key);
    Append(&entries_, static_cast<uint32_t>(type));
  }
  void BeginArray(std::string_view key, GgufType element_type, uint64_t count) {
    BeginEntry(key, GgufType::kArray);
    Append(&entries_, static_cast<uint32_t>(element_type));
    Append(&entries_, count);
  }
  template <typename T>
  void AddScalar(std::string_view key, GgufType type, T value) {
    BeginEntry(key, type);
    Append(&entries_, value);
  }

  uint64_t num_tensors_ = 0;
  uint64_t num_entries_ = 0;
  std::string entries_;
  std::string infos_;
  std::string data_;
};

}  // namespace skv::loader
