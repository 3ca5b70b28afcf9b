#pragma once
// A model file in GGUF (gguf_parser.h describes the format): metadata, and validated views of the
// tensors in the mapped bytes.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/loader/gguf_metadata.h"
#include "worker/loader/gguf_parser.h"
#include "worker/loader/tensor_view.h"

namespace skv::loader {

// Immutable, so thread-safe. Owns the mapping that all its views point into.
class GgufFile {
 public:
  // Maps the file read-only and parses it. The file must not shrink while it is open.
  // NotFound: no such file. InvalidArgument: not a regular, readable file. Others as ParseGguf.
  static absl::StatusOr<std::unique_ptr<GgufFile>> Open(const std::string& path);

  // The same for bytes in memory, which must outlive the result; `name` stands in error messages.
  static absl::StatusOr<std::unique_ptr<GgufFile>> Parse(std::span<const std::byte> bytes,
                                                         const std::string& name);

  ~GgufFile();
  GgufFile(const GgufFile&) = delete;
  GgufFile& operator=(const GgufFile&) = delete;

  const std::string& name() const { return name_; }  // of the file, without its folder
  size_t size_bytes() const { return bytes_.size(); }
  const GgufMetadata& metadata() const { return contents_.metadata; }
  const std::vector<TensorView>& tensors() const { return contents_.tensors; }  // in file order
  const TensorView* FindTensor(std::string_view name) const;                    // or nullptr

  // Gives back the resident pages of `part` (a tensor's data once it is repacked, say); reading it
  // again only costs the page faults. The page cache keeps them for the other ranks of this host.
  // Does nothing for bytes in memory.
  void DropPages(std::span<const std::byte> part) const;
  void DropAllPages() const { DropPages(bytes_); }

 private:
  GgufFile(std::span<const std::byte> bytes, std::string name, bool is_mapped,
           GgufContents contents);

  const std::span<const std::byte> bytes_;
  const std::string name_;
  const bool is_mapped_;
  const GgufContents contents_;
  std::unordered_map<std::string_view, size_t> tensor_idx_;
};

}  // namespace skv::loader
